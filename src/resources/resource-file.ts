import { checkResource } from './decode.ts';
import type { Resource } from './kinds.ts';
import { ConfigError, type PlacedProblem } from './problems.ts';
import { placed, readYaml } from './yaml-source.ts';

/**
 * Resources from YAML (or JSON): one document or several, as `tctl create -f` takes them.
 * @throws {ConfigError} listing all that is wrong, each as `file:line: key: what, and what to do`.
 */
export function readResources(text: string, fileName: string): Resource[] {
  const documents = readYaml(text, fileName);
  if (documents.length === 0) {
    throw new ConfigError(fileName, [{ line: 1, path: [], text: 'holds no resource', unsupported: false }]);
  }
  const resources: Resource[] = [];
  const problems: PlacedProblem[] = [];
  for (const document of documents) {
    const result = checkResource(document.value);
    if (result.ok) resources.push(result.data);
    else problems.push(...placed(result.problems, document));
  }
  if (problems.length > 0) throw new ConfigError(fileName, problems);
  return resources;
}
