const SPACE = /[\s\0]/;

/** Index behind the white space and comments at `from`; `#`, `-- ` and C comments are skipped, executable comments are not. */
function skipBlank(sql: string, from: number): number {
  let at = from;
  for (;;) {
    while (at < sql.length && SPACE.test(sql[at]!)) at += 1;
    if (sql.startsWith('/*', at) && !/^\/\*(?:M?!|\+)/.test(sql.slice(at, at + 4))) {
      const end = sql.indexOf('*/', at + 2);
      if (end < 0) return sql.length;
      at = end + 2;
    } else if (sql[at] === '#' || (sql.startsWith('--', at) && (at + 2 >= sql.length || SPACE.test(sql[at + 2]!)))) {
      const end = sql.indexOf('\n', at);
      if (end < 0) return sql.length;
      at = end + 1;
    } else return at;
  }
}

/** True for a statement that does nothing: white space, comments and semicolons. Drivers send such to see whether the server is there. */
export function isEmptyStatement(sql: string): boolean {
  let at = 0;
  for (;;) {
    at = skipBlank(sql, at);
    if (at >= sql.length) return true;
    if (sql[at] !== ';') return false;
    at += 1;
  }
}

/** The database that a `USE` statement names; undefined for every other statement. */
export function useTarget(sql: string): string | undefined {
  const match = /^use\b/i.exec(sql.slice(skipBlank(sql, 0)));
  if (match === null) return undefined;
  const start = skipBlank(sql, skipBlank(sql, 0) + match[0].length);
  const rest = sql.slice(start);
  const quoted = /^`((?:[^`]|``)*)`/.exec(rest);
  if (quoted !== null) return quoted[1]!.replaceAll('``', '`');
  const doubled = /^"((?:[^"]|"")*)"/.exec(rest);
  if (doubled !== null) return doubled[1]!.replaceAll('""', '"');
  return /^[^\s;]+/.exec(rest)?.[0];
}

/** Where the thread id stands in a `KILL` statement with a literal id. */
export interface KillTarget {
  readonly id: number;
  /** The statement in front of the id and behind it. */
  readonly before: string;
  readonly after: string;
}

/** A `KILL [HARD|SOFT] [CONNECTION|QUERY] id` statement; undefined for every other statement (MariaDB's `KILL USER` among them). */
export function killTarget(sql: string): KillTarget | undefined {
  const start = skipBlank(sql, 0);
  const match = /^(kill\s+(?:(?:hard|soft)\s+)?(?:(?:connection|query)\s+)?)(\d{1,20})(\s*;?\s*)$/i.exec(
    sql.slice(start),
  );
  if (match === null) return undefined;
  return { id: Number(match[2]), before: sql.slice(0, start) + match[1]!, after: match[3]! };
}
