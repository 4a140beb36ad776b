import { NightlatchError } from '../core/errors.ts';
import { printable } from './quoted.ts';

/** Traits of a user, by name. */
export type Traits = Readonly<Record<string, readonly string[]>>;

const TEMPLATE = /^(?<before>.*?)\{\{\s*(?<body>.*?)\s*\}\}(?<after>.*)$/s;
const VARIABLE = /^(?<space>[a-zA-Z_]+)(?:\.(?<name>[\w-]+)|\["(?<quoted>[^"\\]+)"\])$/;
const EMAIL_LOCAL = /^email\.local\(\s*(?<argument>.*?)\s*\)$/;

interface Template {
  readonly before: string;
  readonly after: string;
  readonly trait: string;
  readonly emailLocal: boolean;
}

/** What is wrong with a template in a text, or undefined; a text without `{{` is no template. */
export function templateProblem(text: string): string | undefined {
  const parsed = parseTemplate(text);
  return typeof parsed === 'string' ? parsed : undefined;
}

/**
 * The values a text stands for: itself, or the user's traits for `{{internal.logins}}`, `{{external.email}}`,
 * `{{email.local(external.email)}}`, each with what stands before and behind. A trait the user does not have gives no value.
 * @throws {NightlatchError} `bad_parameter` where `templateProblem` names a problem.
 */
export function expandTemplate(text: string, traits: Traits): string[] {
  const template = parseTemplate(text);
  if (template === undefined) return [text];
  if (typeof template === 'string') throw new NightlatchError('bad_parameter', `${JSON.stringify(text)} ${template}`);
  const values = Object.hasOwn(traits, template.trait) ? traits[template.trait]! : [];
  return values
    .map((value) => (template.emailLocal ? localPart(value) : value))
    .filter((value) => value !== '')
    .map((value) => `${template.before}${value}${template.after}`);
}

function parseTemplate(text: string): Template | string | undefined {
  if (!text.includes('{{') && !text.includes('}}')) return undefined;
  const match = TEMPLATE.exec(text)?.groups;
  if (match === undefined) return 'has a template that is not closed: write {{internal.logins}}';
  const { before = '', body = '', after = '' } = match;
  if (/\{\{|\}\}/.test(before + after)) return 'has more than one template; one is supported';
  const email = EMAIL_LOCAL.exec(body)?.groups?.['argument'];
  const call = /^([\w.]+)\(/.exec(body)?.[1];
  if (email === undefined && call !== undefined) {
    return `uses the function ${printable(call.slice(0, 40))}, which is not supported; email.local is`;
  }
  const variable = VARIABLE.exec(email ?? body)?.groups;
  const trait = variable?.['name'] ?? variable?.['quoted'];
  if (variable === undefined || trait === undefined)
    return 'has a template that cannot be read: write {{internal.logins}}';
  if (variable['space'] !== 'internal' && variable['space'] !== 'external') {
    return `has a template of the unknown kind ${printable(variable['space'] ?? '')}: internal and external are supported`;
  }
  return { before, after, trait, emailLocal: email !== undefined };
}

/** The part of an address before its last `@`; nothing where there is none. */
function localPart(address: string): string {
  return address.slice(0, Math.max(0, address.lastIndexOf('@')));
}
