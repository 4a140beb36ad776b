const MAX_SHOWN = 60;

/** A text from a file, in quotes, for a message: shortened, and without anything that a terminal would act on. */
export function quoted(text: string): string {
  return JSON.stringify(printable(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text, true));
}

/** The same without quotes. */
export function printable(text: string, escapedLater = false): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) =>
    escapedLater && char < ' ' ? char : `<U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}>`,
  );
}
