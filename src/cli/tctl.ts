// tctl: the administrator's command line.
import { runProgram } from './common/program.ts';
import { tctlProgram } from './tctl/program.ts';

await runProgram(tctlProgram);
