import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import type { InputBatch } from '#pipeline';
import { INPUT_BATCH } from './batch-strategy.js';

/** Where inputs come in: a batch of one cluster, decided in order. */
@Controller()
export class InputController {
  @EventPattern(INPUT_BATCH)
  decide(@Payload() batch: InputBatch): Promise<void> {
    return batch.process();
  }
}
