import { StorageType } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { Heads, KeptHead } from './broker.js';
import type { NatsLink } from './nats-connection.js';
import { jetStreamErrorCode, JetStreamErrorCode } from './nats-errors.js';
import { expectLastOfSubject, publishExpecting } from './nats-expecting-publish.js';
import { encodeHeaders } from './nats-headers.js';
import { getStoredMessage } from './nats-stored-message.js';
import type { StreamLimits } from './nats-streams.js';

const BUCKET = 'VF_HEADS';
/** So many of each cluster stay to be looked at by a person, the last one among them. */
const HISTORY = 16;

/** Heads in the KV bucket `VF_HEADS`, a key for each cluster. It is made when the first one is written. */
export class NatsHeads implements Heads {
  constructor(
    private readonly link: NatsLink,
    private readonly limits: StreamLimits,
  ) {}

  async read(cluster: string): Promise<KeptHead | undefined> {
    try {
      const message = await getStoredMessage(this.link, `KV_${BUCKET}`, {
        last_by_subj: subjectOf(cluster),
      });
      if (message === undefined) return { revision: 0 };
      const { sequence: revision, payload } = message;
      // A key that was deleted is a message without any bytes.
      if (payload.length === 0) return { revision };
      return { revision, text: Buffer.from(payload).toString('utf8') };
    } catch (error) {
      if (jetStreamErrorCode(error) === JetStreamErrorCode.streamNotFound) return undefined;
      throw error;
    }
  }

  async write(cluster: string, text: string, revision: number): Promise<void> {
    await this.link.call(`Making the KV bucket ${BUCKET}`, () =>
      new Kvm(this.link.connection).create(BUCKET, {
        description: 'The heads of the VF scheduler’s logs that were signed last',
        history: HISTORY,
        storage: this.limits.storage === 'memory' ? StorageType.Memory : StorageType.File,
        replicas: this.limits.replicas ?? 1,
      }),
    );
    await publishExpecting(
      this.link,
      subjectOf(cluster),
      text,
      encodeHeaders([expectLastOfSubject(revision)]),
    );
  }
}

const subjectOf = (cluster: string): string => `$KV.${BUCKET}.${cluster}`;
