// tsh: everybody's command line.
import { runProgram } from './common/program.ts';
import { tshProgram } from './tsh/program.ts';

await runProgram(tshProgram);
