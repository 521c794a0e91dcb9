import { createRequire } from 'node:module';
import type * as grpc from '@grpc/grpc-js';
import gossipService from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import gossip from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js';
import featuresService from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_grpc_pb.js';
import shared from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import type { KurrentAddress, Node } from './connection-string.js';

/**
 * What a node is asked past the client: whether it answers, and who leads. The client itself asks this too, but at its own
 * pace and one node after the other: a node that is frozen keeps it for five seconds.
 */

// The very copy that the client uses: its generated definitions are made for it.
const ofTheClient = createRequire(createRequire(import.meta.url).resolve('@kurrent/kurrentdb-client'));
const { credentials, Metadata, status } = ofTheClient('@grpc/grpc-js') as typeof grpc;

type Client = { close(): void };
/** A connection of gRPC. */
export interface Channel {
  close(): void;
}
type Callback<T> = (error: grpc.ServiceError | null, answer?: T) => void;

/** A node as gossip tells of it. */
export interface Member extends Node {
  readonly leads: boolean;
}

export class NodeCalls {
  readonly #credentials: grpc.ChannelCredentials;

  constructor({ tls }: Pick<KurrentAddress, 'tls'>) {
    const { ca, cert, key, verify } = tls ?? {};
    this.#credentials =
      tls === undefined
        ? credentials.createInsecure()
        : credentials.createSsl(ca ?? null, key ?? null, cert ?? null, {
            rejectUnauthorized: verify !== false,
          });
  }

  /**
   * Resolves when a node answers on a connection of its own.
   *
   * @param timeout milliseconds.
   * @throws the error of gRPC: why it does not.
   */
  answers(node: Node, timeout: number): Promise<void> {
    return this.#ask(
      node,
      (options) => new featuresService.ServerFeaturesClient(address(node), this.#credentials, options),
      (client, answer: Callback<unknown>) => client.getSupportedMethods(...question(timeout), answer),
    ).then(() => undefined);
  }

  /** The same on the connection that a client has. */
  async answersOn(channel: Channel, timeout: number): Promise<void> {
    // Nobody else has it; closing it would close the channel.
    const client = new featuresService.ServerFeaturesClient('', this.#credentials, {
      channelOverride: channel as grpc.Channel,
    });
    await answerOf((answer: Callback<unknown>) => client.getSupportedMethods(...question(timeout), answer));
  }

  /** Whom a node takes for the members of its cluster that are alive. @throws the error of gRPC. */
  async members(node: Node, timeout: number): Promise<readonly Member[]> {
    const info = await this.#ask(
      node,
      (options) => new gossipService.GossipClient(address(node), this.#credentials, options),
      (client, answer: Callback<gossip.ClusterInfo>) => client.read(...question(timeout), answer),
      // A refusal names no members.
      () => false,
    );
    const leader = gossip.MemberInfo.VNodeState.LEADER;
    return (info?.getMembersList() ?? []).flatMap((member) => {
      const place = member.getHttpEndPoint();
      if (place === undefined || !member.getIsAlive()) return [];
      return [{ host: place.getAddress(), port: place.getPort(), leads: member.getState() === leader }];
    });
  }

  async #ask<C extends Client, T>(
    { serverName }: Node,
    connect: (options: object) => C,
    call: (client: C, answer: Callback<T>) => unknown,
    isAnswer = isSaidByServer,
  ): Promise<T | undefined> {
    const client = connect({
      // gRPC keeps connections that failed, for all clients of a process, and waits longer each time before it
      // tries them again: up to two minutes.
      'grpc.use_local_subchannel_pool': 1,
      ...(serverName !== undefined && { 'grpc.ssl_target_name_override': serverName }),
    });
    try {
      return await answerOf<T>((answer) => call(client, answer), isAnswer);
    } finally {
      client.close();
    }
  }
}

const address = ({ host, port }: Node): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

const question = (timeout: number): [shared.Empty, grpc.Metadata, { deadline: number }] => [
  new shared.Empty(),
  new Metadata(),
  { deadline: Date.now() + timeout },
];

/** These say that there was no answer; whatever else is said, the server has said it. */
const silent: readonly grpc.status[] = [
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.UNKNOWN,
  status.INTERNAL,
];
const isSaidByServer = ({ code }: grpc.ServiceError): boolean => !silent.includes(code);

function answerOf<T>(
  ask: (answer: Callback<T>) => unknown,
  isAnswer = isSaidByServer,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    ask((error, answer) => {
      if (error === null || isAnswer(error)) resolve(answer);
      else reject(error);
    });
  });
}
