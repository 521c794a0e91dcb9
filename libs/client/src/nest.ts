import {
  Inject,
  Injectable,
  Module,
  type DynamicModule,
  type InjectionToken,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { VfScheduler, type VfSchedulerOptions } from './client.js';

@Injectable()
class Closing implements OnApplicationShutdown {
  constructor(@Inject(VfScheduler) private readonly scheduler: VfScheduler) {}

  onApplicationShutdown(): Promise<void> {
    return this.scheduler.close();
  }
}

/** Gives a Nest application a {@link VfScheduler} to inject. It is closed with the application. */
@Module({})
export class VfSchedulerModule {
  /** Connects while the application starts, which fails when no NATS server answers. */
  static forRoot(options: VfSchedulerOptions = {}): DynamicModule {
    return this.forRootAsync({ useFactory: () => options });
  }

  /** The same with options that other providers know. */
  static forRootAsync({
    inject = [],
    useFactory,
  }: {
    readonly inject?: InjectionToken[];
    readonly useFactory: (...providers: never[]) => VfSchedulerOptions | Promise<VfSchedulerOptions>;
  }): DynamicModule {
    return {
      module: VfSchedulerModule,
      global: true,
      providers: [
        {
          provide: VfScheduler,
          inject,
          useFactory: async (...providers: never[]) => VfScheduler.connect(await useFactory(...providers)),
        },
        Closing,
      ],
      exports: [VfScheduler],
    };
  }
}
