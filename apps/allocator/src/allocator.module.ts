import { Module } from '@nestjs/common';
import { InputController } from './input.controller.js';

/** The write side. Its transport, {@link BatchStrategy}, is connected by whoever composes the process. */
@Module({ controllers: [InputController] })
export class AllocatorModule {}
