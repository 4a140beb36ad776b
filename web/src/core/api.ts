import { CSRF_HEADER } from '../../../src/wire/api/web-messages.ts';

/** What the API answered instead of what was asked for. `code` is an `ErrorCode` of core/errors.ts, or `network`. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status: number) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
  }
}

type Method = 'GET' | 'POST' | 'DELETE';

let onUnauthenticated: () => void = () => undefined;

/** Told when the web session turns out to be over. */
export function whenUnauthenticated(fn: () => void): void {
  onUnauthenticated = fn;
}

/** Calls the API. @throws {ApiError} */
export async function api<T>(method: Method, path: string, body?: unknown): Promise<T> {
  const response = await request(method, path, body);
  return (await response.json()) as T;
}

/** The answer as text: reports and exports. @throws {ApiError} */
export async function apiText(path: string): Promise<string> {
  return (await request('GET', path, undefined)).text();
}

async function request(method: Method, path: string, body: unknown): Promise<Response> {
  const headers: Record<string, string> = method === 'GET' ? {} : { [CSRF_HEADER]: '1' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(`/v1${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError('network', 'The gateway cannot be reached.', 0);
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  // A sign-in that fails says so itself; everything else means that the session is over.
  if (error.code === 'unauthenticated' && !path.startsWith('/web/login')) onUnauthenticated();
  throw error;
}

async function errorOf(response: Response): Promise<ApiError> {
  try {
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    return new ApiError(error.code, error.message, response.status);
  } catch {
    return new ApiError('internal', `The gateway answered ${response.status}.`, response.status);
  }
}

/** The words for whatever was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? sentence(error.message) : String(error);
}

/** A text as a sentence of its own. */
export function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?:]$/.test(capital.trim()) ? capital : `${capital}.`;
}
