import { Controller, UseFilters } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import type { InputBatch } from '#pipeline';
import { INPUT_BATCH } from './batch-strategy.js';
import { ErrorsAsTheyAre } from './errors-as-they-are.js';

/** Where inputs come in: a batch of one cluster, decided in order. */
@Controller()
@UseFilters(ErrorsAsTheyAre)
export class InputController {
  @EventPattern(INPUT_BATCH)
  decide(@Payload() batch: InputBatch): Promise<void> {
    return batch.process();
  }
}
