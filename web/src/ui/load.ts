import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

/** Something that is fetched: what came of it, and how to fetch it again. */
export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  reload(): void;
}

/** Fetches when the page appears and whenever one of `deps` changes; an answer that was overtaken is dropped. */
export function useLoad<T>(fetch: () => Promise<T>, deps: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<{ data: T | undefined; error: unknown; loading: boolean }>({
    data: undefined,
    error: undefined,
    loading: true,
  });
  const latest = useRef(0);
  const fetchRef = useRef(fetch);
  fetchRef.current = fetch;
  const reload = useCallback(() => {
    latest.current += 1;
    const mine = latest.current;
    setState((before) => ({ ...before, loading: true }));
    fetchRef.current().then(
      (data) => {
        if (mine === latest.current) setState({ data, error: undefined, loading: false });
      },
      (error: unknown) => {
        if (mine === latest.current) setState((before) => ({ data: before.data, error, loading: false }));
      },
    );
  }, []);
  useEffect(() => {
    reload();
  }, [reload, ...deps]);
  return { ...state, reload };
}

/** Something that the user sets going: whether it is under way, and what went wrong. */
export function useAction(): { busy: boolean; error: unknown; run(action: () => Promise<void>): void } {
  const [state, setState] = useState<{ busy: boolean; error: unknown }>({ busy: false, error: undefined });
  const run = useCallback((action: () => Promise<void>) => {
    setState({ busy: true, error: undefined });
    action().then(
      () => setState({ busy: false, error: undefined }),
      (error: unknown) => setState({ busy: false, error }),
    );
  }, []);
  return { ...state, run };
}
