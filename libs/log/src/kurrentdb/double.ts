import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import type * as grpc from '@grpc/grpc-js';
import gossipService from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import gossip from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js';
import featuresService from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_grpc_pb.js';
import features from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_pb.js';
import shared from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import status from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/status_pb.js';
import streamsService from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import streams from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import {
  DoubleStorage,
  type AppendResult,
  type DoubleEvent,
  type ExpectedState,
  type ProposedEvent,
} from './double-storage.js';

// The very copies that the client uses: its generated definitions are made for them.
const clients = createRequire(createRequire(import.meta.url).resolve('@kurrent/kurrentdb-client'));
const { Metadata, Server, ServerCredentials, status: Status } = clients('@grpc/grpc-js') as typeof grpc;
const { Any } = clients(
  'google-protobuf/google/protobuf/any_pb.js',
) as typeof import('google-protobuf/google/protobuf/any_pb.js');
const { Empty: GoogleEmpty } = clients(
  'google-protobuf/google/protobuf/empty_pb.js',
) as typeof import('google-protobuf/google/protobuf/empty_pb.js');

/** How an append goes wrong. `commit-…`: it is written, and the client does not learn it. */
export type AppendFault =
  | 'silent'
  | 'commit-then-silent'
  | 'drop'
  | 'commit-then-drop'
  | 'commit-then-end'
  | 'not-leader'
  | 'too-busy'
  | 'not-ready'
  | 'timeout'
  | 'commit-then-timeout'
  | 'denied'
  | 'no-space'
  | 'cancelled';

/** How a read goes wrong. `break-after-…`: some events come, and then it breaks. */
export type ReadFault = 'silent' | 'drop' | 'not-leader' | 'denied' | 'too-busy' | 'break-after-2' | 'twice';

/** How a subscription goes wrong. */
export type SubscriptionFault = 'silent' | 'stuck' | 'drop' | 'end' | 'denied' | 'twice' | 'gap';

interface Faults {
  append: AppendFault;
  read: ReadFault;
  subscription: SubscriptionFault;
  features: 'silent' | 'drop' | 'too-busy';
}

export interface DoubleOptions {
  /** Those of another node of the same cluster; by default its own. */
  readonly storage?: DoubleStorage;
  /** PEM. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** By name; whoever is not among them is refused. By default nobody is asked who he is. */
  readonly users?: Readonly<Record<string, { readonly password: string; readonly writes?: boolean }>>;
  /** Default: any free one. */
  readonly port?: number;
  /** Where others reach it, when that is not where it listens. */
  readonly reachedAt?: () => number;
  /** `false`: a server that does not have it, so that the client uses `Append`. Default: `true`. */
  readonly batchAppend?: boolean;
}

interface Subscriber {
  readonly stream: string;
  /** Sends what has come. */
  pump(): void;
  end(how: 'end' | 'drop'): void;
}

type BatchCall = grpc.ServerDuplexStream<streams.BatchAppendReq, streams.BatchAppendResp>;
type AppendCall = grpc.ServerReadableStream<streams.AppendReq, streams.AppendResp>;
type ReadCall = grpc.ServerWritableStream<streams.ReadReq, streams.ReadResp>;

const host = '127.0.0.1';

/**
 * A double of a KurrentDB node, on loopback, for the official client: what the adapter uses of the protocol,
 * with the server's rules for expected revisions, repeats by id and the size of an append, and with faults.
 *
 * It keeps everything in memory, over {@link stop} and {@link start} too. Where it must choose, it does what the
 * source of the server does. It is not the server: nothing here shows how a real one behaves under load or on a
 * power failure.
 */
export class KurrentDouble {
  readonly storage: DoubleStorage;
  /** Set: this node follows that one, and refuses what requires the leader. */
  leader: { readonly reachedAt: number } | undefined;
  /** What gossip tells; by default this node alone. */
  members: () => readonly KurrentDouble[] = () => [this];
  /** Whether the others still hear of it. */
  isAlive = true;
  /** How often each kind of call has come. */
  readonly calls = { append: 0, batchAppend: 0, read: 0, subscription: 0, features: 0 };
  readonly #faults: { [Kind in keyof Faults]: Faults[Kind][] } = {
    append: [],
    read: [],
    subscription: [],
    features: [],
  };
  readonly #subscribers = new Set<Subscriber>();
  #server: grpc.Server | undefined;
  #port: number;

  constructor(private readonly options: DoubleOptions = {}) {
    this.#port = options.port ?? 0;
    this.storage = options.storage ?? new DoubleStorage();
    this.storage.watchers.add((name) => {
      for (const subscriber of this.#subscribers) if (subscriber.stream === name) subscriber.pump();
    });
  }

  get port(): number {
    return this.#port;
  }

  get reachedAt(): number {
    return this.options.reachedAt?.() ?? this.#port;
  }

  /** For the client: `kurrentdb://…` with `tls=false` where it has no TLS. */
  url(user = '', query = ''): string {
    const tls = this.options.tls === undefined ? 'tls=false' : 'tls=true';
    return `kurrentdb://${user === '' ? '' : `${user}@`}${host}:${this.#port}?${tls}${query}`;
  }

  /** Listens; after a {@link stop} on the same port as before. */
  async start(): Promise<this> {
    const server = new Server({ 'grpc.max_receive_message_length': -1 });
    const { batchAppend, append, read, delete: remove, tombstone } = streamsService.StreamsService;
    server.addService(
      { batchAppend, append, read, delete: remove, tombstone },
      {
        batchAppend: (call: BatchCall) => this.#batchAppend(call),
        append: (call: AppendCall, answer: grpc.sendUnaryData<streams.AppendResp>) =>
          this.#append(call, answer),
        read: (call: ReadCall) => this.#read(call),
        delete: (
          call: grpc.ServerUnaryCall<streams.DeleteReq, streams.DeleteResp>,
          answer: grpc.sendUnaryData<streams.DeleteResp>,
        ) => {
          this.storage.delete(nameOf(call.request.getOptions()?.getStreamIdentifier()));
          answer(null, new streams.DeleteResp());
        },
        tombstone: (
          call: grpc.ServerUnaryCall<streams.TombstoneReq, streams.TombstoneResp>,
          answer: grpc.sendUnaryData<streams.TombstoneResp>,
        ) => {
          this.storage.delete(nameOf(call.request.getOptions()?.getStreamIdentifier()), 'tombstoned');
          answer(null, new streams.TombstoneResp());
        },
      },
    );
    server.addService(featuresService.ServerFeaturesService, {
      getSupportedMethods: (_call: unknown, answer: grpc.sendUnaryData<features.SupportedMethods>) =>
        this.#features(answer),
    });
    server.addService(gossipService.GossipService, {
      read: (_call: unknown, answer: grpc.sendUnaryData<gossip.ClusterInfo>) => answer(null, this.#gossip()),
    });
    const { tls } = this.options;
    const credentials =
      tls === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(null, [
            { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) },
          ]);
    this.#port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(`${host}:${this.#port}`, credentials, (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    );
    this.#server = server;
    return this;
  }

  /** Breaks every connection and listens no more. What is stored stays. */
  async stop(): Promise<void> {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.#subscribers.clear();
  }

  /** Makes the next calls of a kind go wrong, one fault for each call, in order. */
  fail<Kind extends keyof Faults>(kind: Kind, fault: Faults[Kind], times = 1): void {
    for (let time = 0; time < times; time++) this.#faults[kind].push(fault);
  }

  /** Takes back the faults that no call has met. */
  heal(): void {
    for (const faults of Object.values(this.#faults)) faults.length = 0;
  }

  /** How many faults no call has met yet. */
  get faultsLeft(): number {
    return Object.values(this.#faults).reduce((sum, faults) => sum + faults.length, 0);
  }

  get subscriptions(): number {
    return this.#subscribers.size;
  }

  /** Ends the subscriptions that run now. */
  dropSubscriptions(how: 'end' | 'drop'): void {
    for (const subscriber of [...this.#subscribers]) subscriber.end(how);
  }

  #features(answer: grpc.sendUnaryData<features.SupportedMethods>): void {
    this.calls.features++;
    const fault = this.#faults.features.shift();
    if (fault === 'silent') return;
    if (fault === 'drop') return answer(failure(Status.UNAVAILABLE, 'the connection was dropped'));
    if (fault === 'too-busy') return answer(failure(Status.RESOURCE_EXHAUSTED, 'too many requests'));
    const supported = new features.SupportedMethods();
    supported.setEventStoreServerVersion('26.0.3-double');
    const names = ['read', 'append', 'delete', 'tombstone'];
    if (this.options.batchAppend ?? true) names.push('batchappend');
    for (const name of names) {
      const method = new features.SupportedMethod();
      method.setServiceName('event_store.client.streams.streams');
      method.setMethodName(name);
      supported.addMethods(method);
    }
    answer(null, supported);
  }

  #gossip(): gossip.ClusterInfo {
    const info = new gossip.ClusterInfo();
    for (const node of this.members()) {
      const member = new gossip.MemberInfo();
      const id = new shared.UUID();
      id.setString(randomUUID());
      member.setInstanceId(id);
      member.setTimeStamp(String(Date.now() * 10_000));
      const { LEADER, FOLLOWER } = gossip.MemberInfo.VNodeState;
      member.setState(node.leader === undefined ? LEADER : FOLLOWER);
      member.setIsAlive(node.isAlive);
      const endPoint = new gossip.EndPoint();
      endPoint.setAddress(host);
      endPoint.setPort(node.reachedAt);
      member.setHttpEndPoint(endPoint);
      info.addMembers(member);
    }
    return info;
  }

  /** Why a call is refused before it is looked at; undefined when it is not. */
  #refusal(metadata: grpc.Metadata): grpc.ServiceError | undefined {
    if (this.leader !== undefined && metadata.get('requires-leader')[0] === 'true') {
      return notLeader(this.leader.reachedAt);
    }
    if (this.options.users !== undefined && this.#user(metadata) === undefined) {
      return failure(Status.UNAUTHENTICATED, 'Unauthenticated');
    }
    return undefined;
  }

  #user(metadata: grpc.Metadata): { readonly writes?: boolean } | undefined {
    const [, basic = ''] = /^Basic (.*)$/.exec(String(metadata.get('authorization')[0] ?? '')) ?? [];
    const [, name = '', password] =
      /^([^:]*):(.*)$/.exec(Buffer.from(basic, 'base64').toString('utf8')) ?? [];
    const user = this.options.users?.[name];
    return user?.password === password ? user : undefined;
  }

  #mayWrite(metadata: grpc.Metadata): boolean {
    return this.options.users === undefined || (this.#user(metadata)?.writes ?? true);
  }

  #batchAppend(call: BatchCall): void {
    const refusal = this.#refusal(call.metadata);
    const waiting = new Map<string, { request: streams.BatchAppendReq; events: ProposedEvent[] }>();
    call.on('error', () => undefined);
    call.on('end', () => call.end());
    call.on('data', (request: streams.BatchAppendReq) => {
      if (refusal !== undefined) return void call.emit('error', refusal);
      const correlation = uuidOf(request.getCorrelationId());
      const first = waiting.get(correlation) ?? { request, events: [] };
      waiting.set(correlation, first);
      for (const message of request.getProposedMessagesList()) first.events.push(proposedEvent(message));
      if (!request.getIsFinal()) return;
      waiting.delete(correlation);
      this.calls.batchAppend++;
      this.#takeBatch(call, first.request, first.events);
    });
  }

  #takeBatch(call: BatchCall, request: streams.BatchAppendReq, events: readonly ProposedEvent[]): void {
    const options = request.getOptions()!;
    const name = nameOf(options.getStreamIdentifier());
    const respond = (fill: (response: streams.BatchAppendResp) => void): void => {
      const response = new streams.BatchAppendResp();
      response.setCorrelationId(request.getCorrelationId());
      response.setStreamIdentifier(options.getStreamIdentifier());
      fill(response);
      call.write(response);
    };
    const refuse = (type: string, message: string, details: { serializeBinary(): Uint8Array }): void =>
      respond((response) => response.setError(statusOf(type, message, details)));
    const empty = new GoogleEmpty();
    const fault = this.#faults.append.shift();
    const result =
      fault === undefined || fault.startsWith('commit-')
        ? this.#mayWrite(call.metadata)
          ? this.storage.append(name, expectedState(options), events)
          : undefined
        : undefined;
    switch (fault) {
      case 'silent':
      case 'commit-then-silent':
        return;
      case 'drop':
      case 'commit-then-drop':
        return void call.emit('error', failure(Status.UNAVAILABLE, 'the connection was dropped'));
      case 'cancelled':
        return void call.emit('error', failure(Status.CANCELLED, 'cancelled by the server'));
      case 'commit-then-end':
        return void call.end();
      case 'not-leader':
        return void call.emit('error', notLeader(this.leader?.reachedAt ?? this.reachedAt));
      case 'too-busy':
        return refuse('google.protobuf.Empty', 'Server Is Busy', empty);
      case 'not-ready':
        return refuse('google.protobuf.Empty', 'Server Is Not Ready', empty);
      case 'timeout':
      case 'commit-then-timeout':
        return refuse('event_store.client.Timeout', 'Timeout', new shared.Timeout());
      case 'no-space':
        return refuse('google.protobuf.Empty', 'No space left on device', empty);
      case 'denied':
      case undefined:
        break;
    }
    if (fault === 'denied' || result === undefined)
      return refuse('event_store.client.AccessDenied', 'AccessDenied', new shared.AccessDenied());
    switch (result.result) {
      case 'done':
        return respond((response) => {
          const success = new streams.BatchAppendResp.Success();
          success.setCurrentRevision(String(result.revision));
          response.setSuccess(success);
        });
      case 'wrong-version': {
        const details = new shared.WrongExpectedVersion();
        if (result.current === undefined) details.setCurrentNoStream(new GoogleEmpty());
        else details.setCurrentStreamRevision(String(result.current));
        if (options.hasStreamPosition()) details.setExpectedStreamPosition(options.getStreamPosition());
        else details.setExpectedNoStream(new GoogleEmpty());
        return refuse('event_store.client.WrongExpectedVersion', 'WrongExpectedVersion', details);
      }
      case 'too-large': {
        const details = new shared.MaximumAppendSizeExceeded();
        details.setMaxappendsize(result.limit);
        return refuse('event_store.client.MaximumAppendSizeExceeded', 'MaximumAppendSizeExceeded', details);
      }
      case 'deleted': {
        const details = new shared.StreamDeleted();
        details.setStreamIdentifier(options.getStreamIdentifier());
        return refuse('event_store.client.StreamDeleted', 'StreamDeleted', details);
      }
    }
  }

  #append(call: AppendCall, answer: grpc.sendUnaryData<streams.AppendResp>): void {
    let options: streams.AppendReq.Options | undefined;
    const events: ProposedEvent[] = [];
    call.on('error', () => undefined);
    call.on('data', (request: streams.AppendReq) => {
      if (request.hasOptions()) options = request.getOptions();
      else events.push(proposedEvent(request.getProposedMessage()!));
    });
    call.on('end', () => {
      this.calls.append++;
      const refusal = this.#refusal(call.metadata);
      if (refusal !== undefined) return answer(refusal);
      this.#takeAppend(call, options!, events, answer);
    });
  }

  #takeAppend(
    call: AppendCall,
    options: streams.AppendReq.Options,
    events: readonly ProposedEvent[],
    answer: grpc.sendUnaryData<streams.AppendResp>,
  ): void {
    const name = nameOf(options.getStreamIdentifier());
    const fault = this.#faults.append.shift();
    let result: AppendResult | undefined;
    if (fault === undefined || fault.startsWith('commit-')) {
      if (!this.#mayWrite(call.metadata)) return answer(accessDenied());
      const at: ExpectedState = options.hasRevision()
        ? Number(options.getRevision())
        : options.hasNoStream()
          ? 'no_stream'
          : options.hasStreamExists()
            ? 'stream_exists'
            : 'any';
      result = this.storage.append(name, at, events);
    }
    switch (fault) {
      case 'silent':
      case 'commit-then-silent':
        return;
      case 'drop':
      case 'commit-then-drop':
      case 'commit-then-end':
        return answer(failure(Status.UNAVAILABLE, 'the connection was dropped'));
      case 'cancelled':
        return answer(failure(Status.CANCELLED, 'cancelled by the server'));
      case 'not-leader':
        return answer(notLeader(this.leader?.reachedAt ?? this.reachedAt));
      case 'too-busy':
        return answer(failure(Status.UNAVAILABLE, 'Server Is Too Busy'));
      case 'not-ready':
        return answer(failure(Status.UNAVAILABLE, 'Server Is Not Ready'));
      case 'timeout':
      case 'commit-then-timeout':
        return answer(failure(Status.ABORTED, 'Operation timed out'));
      case 'no-space':
        return answer(failure(Status.UNKNOWN, 'No space left on device'));
      case 'denied':
        return answer(accessDenied());
      case undefined:
        break;
    }
    const response = new streams.AppendResp();
    switch (result!.result) {
      case 'done': {
        const success = new streams.AppendResp.Success();
        success.setCurrentRevision(String(result!.revision));
        response.setSuccess(success);
        return answer(null, response);
      }
      case 'wrong-version': {
        const wrong = new streams.AppendResp.WrongExpectedVersion();
        if (result!.current === undefined) wrong.setCurrentNoStream(new shared.Empty());
        else wrong.setCurrentRevision(String(result!.current));
        if (options.hasRevision()) wrong.setExpectedRevision(options.getRevision());
        else wrong.setExpectedNoStream(new shared.Empty());
        response.setWrongExpectedVersion(wrong);
        return answer(null, response);
      }
      case 'too-large':
        return answer(
          failure(Status.INVALID_ARGUMENT, 'Maximum Append Size Exceeded', {
            exception: 'maximum-append-size-exceeded',
            'maximum-append-size': String(result!.limit),
          }),
        );
      case 'deleted':
        return answer(
          failure(Status.FAILED_PRECONDITION, `Event stream '${name}' is deleted.`, {
            exception: 'stream-deleted',
            'stream-name': name,
          }),
        );
    }
  }

  #read(call: ReadCall): void {
    call.on('error', () => undefined);
    const options = call.request.getOptions()!;
    const refusal = this.#refusal(call.metadata);
    if (refusal !== undefined) {
      // The client's reader makes nothing but "unavailable" of what a server says to a wrong password.
      const unread = refusal.code === Status.UNAUTHENTICATED && !options.hasSubscription();
      return void call.emit('error', unread ? failure(Status.UNAVAILABLE, 'Unauthenticated') : refusal);
    }
    if (!options.hasStream())
      return void call.emit('error', failure(Status.UNIMPLEMENTED, 'the double reads single streams only'));
    if (options.hasSubscription()) return this.#subscribe(call, options);
    this.calls.read++;
    const fault = this.#faults.read.shift();
    switch (fault) {
      case 'silent':
        return;
      case 'drop':
        return void call.emit('error', failure(Status.UNAVAILABLE, 'the connection was dropped'));
      case 'too-busy':
        return void call.emit('error', failure(Status.UNAVAILABLE, 'Server Is Too Busy'));
      case 'not-leader':
        return void call.emit('error', notLeader(this.leader?.reachedAt ?? this.reachedAt));
      case 'denied':
        return void call.emit('error', accessDenied());
      case 'break-after-2':
      case 'twice':
      case undefined:
        break;
    }
    const name = nameOf(options.getStream()!.getStreamIdentifier());
    if (this.storage.isTombstoned(name)) {
      return void call.emit(
        'error',
        failure(Status.FAILED_PRECONDITION, `Event stream '${name}' is deleted.`, {
          exception: 'stream-deleted',
          'stream-name': name,
        }),
      );
    }
    const events = this.storage.events(name);
    if (events === undefined) {
      const response = new streams.ReadResp();
      const missing = new streams.ReadResp.StreamNotFound();
      missing.setStreamIdentifier(options.getStream()!.getStreamIdentifier());
      response.setStreamNotFound(missing);
      call.write(response);
      return void call.end();
    }
    let found = selectEvents(events, options);
    if (fault === 'twice') found = found.flatMap((event) => [event, event]);
    const structured = options.getUuidOption()?.hasStructured() ?? false;
    let sent = 0;
    for (const event of found) {
      if (fault === 'break-after-2' && sent === 2)
        return void call.emit('error', failure(Status.UNAVAILABLE, 'the connection was dropped'));
      call.write(eventResponse(name, event, structured));
      sent += 1;
    }
    call.end();
  }

  #subscribe(call: ReadCall, options: streams.ReadReq.Options): void {
    this.calls.subscription++;
    const fault = this.#faults.subscription.shift();
    if (fault === 'silent') return;
    if (fault === 'denied') return void call.emit('error', accessDenied());
    const from = options.getStream()!;
    const name = nameOf(from.getStreamIdentifier());
    const structured = options.getUuidOption()?.hasStructured() ?? false;
    const end = (how: 'end' | 'drop'): void => {
      this.#subscribers.delete(subscriber);
      if (how === 'end') call.end();
      else call.emit('error', failure(Status.UNAVAILABLE, 'the connection was dropped'));
    };
    let next = from.hasRevision()
      ? Number(from.getRevision()) + 1
      : from.hasEnd()
        ? (this.storage.events(name)?.at(-1)?.revision ?? -1) + 1
        : 0;
    const pump = (): void => {
      for (const event of this.storage.events(name) ?? []) {
        if (event.revision < next || fault === 'stuck') continue;
        next = event.revision + 1;
        if (fault === 'end' || fault === 'drop') return end(fault);
        if (fault === 'gap') continue;
        call.write(eventResponse(name, event, structured));
        if (fault === 'twice') call.write(eventResponse(name, event, structured));
      }
    };
    const subscriber: Subscriber = { stream: name, pump, end };
    this.#subscribers.add(subscriber);
    call.on('cancelled', () => this.#subscribers.delete(subscriber));
    call.on('close', () => this.#subscribers.delete(subscriber));
    const response = new streams.ReadResp();
    const confirmation = new streams.ReadResp.SubscriptionConfirmation();
    confirmation.setSubscriptionId(randomUUID());
    response.setConfirmation(confirmation);
    call.write(response);
    pump();
  }
}

function failure(
  code: grpc.status,
  details: string,
  trailers: Record<string, string> = {},
): grpc.ServiceError {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(trailers)) metadata.set(name, value);
  return Object.assign(new Error(details), { code, details, metadata });
}

function notLeader(port: number): grpc.ServiceError {
  return failure(Status.NOT_FOUND, `Leader info available. Currently at ${host}:${port}.`, {
    exception: 'not-leader',
    'leader-endpoint-host': host,
    'leader-endpoint-port': String(port),
  });
}

function accessDenied(): grpc.ServiceError {
  return failure(Status.PERMISSION_DENIED, 'Access Denied', { exception: 'access-denied' });
}

function statusOf(type: string, message: string, details: { serializeBinary(): Uint8Array }): status.Status {
  const any = new Any();
  any.pack(details.serializeBinary(), type);
  const answer = new status.Status();
  answer.setMessage(message);
  answer.setDetails(any);
  return answer;
}

function nameOf(identifier: shared.StreamIdentifier | undefined): string {
  return Buffer.from(identifier!.getStreamName_asU8()).toString('utf8');
}

function expectedState(options: streams.BatchAppendReq.Options): ExpectedState {
  if (options.hasStreamPosition()) return Number(options.getStreamPosition());
  if (options.hasNoStream()) return 'no_stream';
  return options.hasStreamExists() ? 'stream_exists' : 'any';
}

function proposedEvent(
  message: streams.BatchAppendReq.ProposedMessage | streams.AppendReq.ProposedMessage,
): ProposedEvent {
  return {
    id: uuidOf(message.getId()),
    type: message.getMetadataMap().get('type') ?? '',
    contentType: message.getMetadataMap().get('content-type') ?? '',
    data: message.getData_asU8(),
    metadata: message.getCustomMetadata_asU8(),
  };
}

function selectEvents(
  events: readonly DoubleEvent[],
  options: streams.ReadReq.Options,
): readonly DoubleEvent[] {
  const from = options.getStream()!;
  const count = options.hasCount() ? Number(options.getCount()) : events.length;
  const forwards = options.getReadDirection() === streams.ReadReq.Options.ReadDirection.FORWARDS;
  const revision = from.hasRevision()
    ? Number(from.getRevision())
    : from.hasEnd()
      ? Number.MAX_SAFE_INTEGER
      : 0;
  if (forwards) {
    if (from.hasEnd()) return [];
    const first = events.findIndex((event) => event.revision >= revision);
    return first === -1 ? [] : events.slice(first, first + count);
  }
  return events
    .filter((event) => event.revision <= revision)
    .toReversed()
    .slice(0, count);
}

function eventResponse(stream: string, event: DoubleEvent, structured: boolean): streams.ReadResp {
  const recorded = new streams.ReadResp.ReadEvent.RecordedEvent();
  const identifier = new shared.StreamIdentifier();
  identifier.setStreamName(Buffer.from(stream).toString('base64'));
  recorded.setStreamIdentifier(identifier);
  recorded.setId(uuidMessage(event.id, structured));
  recorded.setStreamRevision(String(event.revision));
  recorded.setCommitPosition(String(event.revision));
  recorded.setPreparePosition(String(event.revision));
  recorded.getMetadataMap().set('type', event.type);
  recorded.getMetadataMap().set('content-type', event.contentType);
  // In units of 100 ns.
  recorded.getMetadataMap().set('created', String(event.created * 10_000));
  recorded.setData(event.data);
  recorded.setCustomMetadata(event.metadata);
  const read = new streams.ReadResp.ReadEvent();
  read.setEvent(recorded);
  read.setCommitPosition(String(event.revision));
  const response = new streams.ReadResp();
  response.setEvent(read);
  return response;
}

function uuidMessage(id: string, structured: boolean): shared.UUID {
  const uuid = new shared.UUID();
  if (!structured) {
    uuid.setString(id);
    return uuid;
  }
  const hex = id.replaceAll('-', '');
  const halves = new shared.UUID.Structured();
  halves.setMostSignificantBits(BigInt.asIntN(64, BigInt(`0x${hex.slice(0, 16)}`)).toString());
  halves.setLeastSignificantBits(BigInt.asIntN(64, BigInt(`0x${hex.slice(16)}`)).toString());
  uuid.setStructured(halves);
  return uuid;
}

function uuidOf(uuid: shared.UUID | undefined): string {
  const structured = uuid?.getStructured();
  if (structured === undefined) return uuid?.getString() ?? '';
  const half = (bits: string): string => BigInt.asUintN(64, BigInt(bits)).toString(16).padStart(16, '0');
  const hex = half(structured.getMostSignificantBits()) + half(structured.getLeastSignificantBits());
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
