import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml';
import { ConfigError, type Path, type PlacedProblem, type Problem } from './problems.ts';
import { printable, quoted } from './quoted.ts';

/** Files larger than this are no configuration. */
const MAX_BYTES = 1024 * 1024;
/** Nesting of mappings and lists. */
const MAX_DEPTH = 64;
/** Values in one document after aliases are followed: an alias may repeat, not explode. */
const MAX_VALUES = 100_000;

/** One document of a YAML file, with the place of everything in it. */
export interface YamlDocument {
  readonly value: unknown;
  /** Line of a key or list entry, from 1; of the nearest thing around it where there is no such key. */
  lineOf(path: Path): number;
}

/**
 * Reads YAML 1.2 (and so JSON): one document or several. Empty documents are left out.
 * @throws {ConfigError} with line and key: what is no YAML, duplicate keys, keys that are no text, tags, aliases that explode.
 */
export function readYaml(text: string, fileName: string): YamlDocument[] {
  if (Buffer.byteLength(text) > MAX_BYTES) throw new ConfigError(fileName, [problemAt(1, [], 'is larger than 1 MiB')]);
  const lines = new LineCounter();
  let documents: Document.Parsed[];
  try {
    // Duplicate keys are looked for below: the library compares every key with every other one.
    documents = [
      ...parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, logLevel: 'silent' }),
    ];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(fileName, [problemAt(1, [], 'is nested too deeply')]);
  }
  const problems = documents.flatMap((document) =>
    [...document.errors, ...document.warnings].map((error) =>
      problemAt(lines.linePos(error.pos[0]).line, [], yamlProblem(error.message)),
    ),
  );
  if (problems.length > 0) throw new ConfigError(fileName, problems.slice(0, 20));
  return documents.flatMap((document) => {
    const reader = new Reader(document, lines);
    const value = reader.read();
    if (reader.problems.length > 0) throw new ConfigError(fileName, reader.problems.slice(0, 20));
    return value === null ? [] : [{ value, lineOf: (path) => reader.lineOf(path) }];
  });
}

/** Problems with their lines. */
export function placed(problems: readonly Problem[], document: YamlDocument): PlacedProblem[] {
  return problems
    .map((problem) => ({ ...problem, line: document.lineOf(problem.path) }))
    .sort((a, b) => a.line - b.line);
}

/** Turns the nodes of one document into plain values. */
class Reader {
  readonly problems: PlacedProblem[] = [];
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  /** What each alias stands for; the library looks through the whole document for each. */
  readonly #targets = new Map<Alias, Node>();
  #values = 0;

  constructor(document: Document.Parsed, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
    this.#findTargets(document.contents, new Map(), 0);
  }

  read(): unknown {
    return this.#value(this.#document.contents, [], 0);
  }

  lineOf(path: Path): number {
    let node: unknown = this.#document.contents;
    let line = this.#line(node) ?? 1;
    for (const step of path) {
      if (isAlias(node)) node = this.#targets.get(node);
      if (isMap(node)) {
        const pair = node.items.find((item) => keyOf(item.key) === step);
        if (pair === undefined) return line;
        line = this.#line(pair.key) ?? line;
        node = pair.value;
      } else if (isSeq(node) && typeof step === 'number' && step < node.items.length) {
        node = node.items[step];
        line = this.#line(node) ?? line;
      } else {
        return line;
      }
    }
    return line;
  }

  /** In the order of the document: an alias means the last anchor of that name before it. */
  #findTargets(node: unknown, anchors: Map<string, Node>, depth: number): void {
    if (depth > MAX_DEPTH) return;
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target !== undefined) this.#targets.set(node, target);
      return;
    }
    if (isScalar(node) || isMap(node) || isSeq(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    }
    if (isSeq(node)) for (const item of node.items) this.#findTargets(item, anchors, depth + 1);
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        this.#findTargets(key, anchors, depth + 1);
        this.#findTargets(value, anchors, depth + 1);
      }
    }
  }

  #value(node: Node | null | undefined, path: Path, depth: number): unknown {
    this.#values += 1;
    if (this.#values > MAX_VALUES)
      return this.#refuse(node, [], `has more than ${MAX_VALUES} values`, this.#values === MAX_VALUES + 1);
    if (depth > MAX_DEPTH) return this.#refuse(node, path.slice(0, 4), 'is nested too deeply');
    if (isAlias(node)) {
      const target = this.#targets.get(node);
      return target === undefined
        ? this.#refuse(node, path, `names no anchor: ${quoted(node.source)}`)
        : this.#value(target, path, depth + 1);
    }
    if (isScalar(node)) {
      if (typeof node.value === 'bigint') return this.#refuse(node, path, 'is a number too large');
      return node.value === undefined ? null : node.value;
    }
    if (isSeq(node)) return node.items.map((item, at) => this.#value(item as Node | null, [...path, at], depth + 1));
    if (isMap(node)) return this.#mapping(node.items as readonly { key: unknown; value: unknown }[], path, depth);
    return null;
  }

  #mapping(items: readonly { key: unknown; value: unknown }[], path: Path, depth: number): Record<string, unknown> {
    const mapping: Record<string, unknown> = {};
    const seen = new Map<string, number>();
    for (const { key: keyNode, value } of items) {
      const key = keyOf(keyNode);
      if (key === undefined) {
        this.#refuse(keyNode, path, 'has a key that is no text');
        continue;
      }
      const keyPath = [...path, key];
      const first = seen.get(key);
      if (first !== undefined) {
        this.#refuse(keyNode, keyPath, `is here twice: it stands in line ${first} already; remove one`);
      } else if (key === '__proto__') {
        this.#refuse(keyNode, keyPath, 'unknown key: remove it');
      } else {
        seen.set(key, this.#line(keyNode) ?? 0);
        mapping[key] = this.#value(value as Node | null, keyPath, depth + 1);
      }
      if (this.#values > MAX_VALUES) break;
    }
    return mapping;
  }

  #refuse(node: unknown, path: Path, text: string, report = true): null {
    if (report) this.problems.push(problemAt(this.#line(node) ?? 1, path, text));
    return null;
  }

  #line(node: unknown): number | undefined {
    const offset = (node as Node | null | undefined)?.range?.[0];
    return offset === undefined ? undefined : this.#lines.linePos(offset).line;
  }
}

/** A key as text: `22` is the text 22 there. */
function keyOf(node: unknown): string | undefined {
  if (!isScalar(node)) return undefined;
  return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
}

function problemAt(line: number, path: Path, text: string): PlacedProblem {
  return { line, path, text, unsupported: false };
}

function yamlProblem(message: string): string {
  // The composer recurses, and reports where its stack ended.
  return message.includes('call stack') ? 'is nested too deeply' : `is no YAML: ${printable(message.slice(0, 200))}`;
}
