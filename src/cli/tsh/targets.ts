import { printTargets, type TargetPath } from '../common/targets.ts';
import { type GlobalOptions, withApi } from './sign-in.ts';

/** `tsh ls`, `tsh db ls`, `tsh kube ls`, `tsh desktop ls`. */
export async function listTargets(
  globals: GlobalOptions,
  path: TargetPath,
  options: { format: 'text' | 'json'; labels?: string },
): Promise<void> {
  await withApi(globals, (api) => printTargets(api, path, options));
}
