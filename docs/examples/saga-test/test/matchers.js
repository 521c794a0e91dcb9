import { expect } from '@jest/globals';
import { matchers } from '@vf-scheduler/testing';

expect.extend(matchers);
