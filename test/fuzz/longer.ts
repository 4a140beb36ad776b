// Preloaded by `npm run fuzz`: whoever imports fast-check gets one whose assertions run FUZZ_RUNS times as often.
import { registerHooks } from 'node:module';
import type { IPropertyWithHooks, Parameters } from 'fast-check';

const DEFAULT_RUNS = 100;
const factor = Number(process.env['FUZZ_RUNS'] ?? 20);
if (!(factor > 0)) throw new Error(`FUZZ_RUNS=${process.env['FUZZ_RUNS']} is no positive number`);

/** The parameters of an assertion, for a longer run. */
function longer<T>(parameters: Parameters<T> = {}): Parameters<T> {
  const runs = Math.max(1, Math.round((parameters.numRuns ?? DEFAULT_RUNS) * factor));
  return { ...parameters, numRuns: runs };
}

const real = await import('fast-check');
Reflect.set(globalThis, Symbol.for('nightlatch.fuzz'), {
  ...real.default,
  assert: <T>(property: IPropertyWithHooks<T>, parameters?: Parameters<T>) => real.assert(property, longer(parameters)),
});

const SOURCE = `export default globalThis[Symbol.for('nightlatch.fuzz')];`;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'fast-check' && context.parentURL?.endsWith('.test.ts')
      ? { url: `data:text/javascript,${encodeURIComponent(SOURCE)}`, shortCircuit: true }
      : next(specifier, context),
});
