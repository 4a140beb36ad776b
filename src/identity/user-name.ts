/** Longest user name, in characters after normalisation. */
const MAX_USER_NAME_LENGTH = 64;

/**
 * A user name in the one form it has everywhere (Unicode NFC), or undefined where it cannot be one: empty, too long, with control,
 * format, surrogate or unassigned characters, with blanks other than single spaces inside, or with `/`, which paths give a meaning.
 */
export function normalizeUserName(name: string): string | undefined {
  // Bounded first: normalising a megabyte for an unauthenticated peer would be a gift.
  if (name.length > 4 * MAX_USER_NAME_LENGTH) return undefined;
  const normal = name.normalize('NFC');
  const length = [...normal].length;
  if (length === 0 || length > MAX_USER_NAME_LENGTH) return undefined;
  if (/[\p{C}\p{Zl}\p{Zp}/]/u.test(normal)) return undefined;
  if (/^\s|\s$|\s\s|[^\S ]/u.test(normal)) return undefined;
  return normal === '.' || normal === '..' ? undefined : normal;
}
