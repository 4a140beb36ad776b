import { useEffect, useState } from 'preact/hooks';
import type { AuditEventMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { downloadText, toCsv } from '../core/download.ts';
import { moment } from '../core/format.ts';
import { newestEvent } from '../core/live.ts';
import { query, setQuery } from '../core/router.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { CopyButton, Dialog, Empty, Field, PageHead, Problem } from '../ui/parts.tsx';

const SHOWN = 200;
const EXPORTED = 10_000;
const FILTERS = ['from', 'to', 'events', 'user', 'sid'] as const;
type Filter = Record<(typeof FILTERS)[number], string>;

/** Events that people look for, by what they mean. */
const CHOICES: readonly (readonly [label: string, events: string])[] = [
  ['Everything', ''],
  ['How sessions ended', 'client.disconnect'],
  ['Sessions', 'session.start,session.end,session.reject,client.disconnect'],
  ['Sign-ins', 'user.login,auth'],
  ['Commands and files', 'exec,scp,sftp,port'],
  ['Databases', 'db.session.start,db.session.query,db.session.end'],
  [
    'Changes of policy',
    'cluster_networking_config.update,auth_preference.update,role.created,role.updated,role.deleted,lock.created,lock.deleted',
  ],
];

function pathOf(filter: Filter, limit: number): string {
  const given = Object.entries(filter).filter(([, value]) => value !== '');
  return `/audit?${new URLSearchParams([...given, ['limit', String(limit)]])}`;
}

/** The audit log. */
export function AuditPage() {
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.value.get(name) ?? ''])) as Filter;
  if (!query.value.has('from')) filter.from = '24h';
  const [draft, setDraft] = useState(filter);
  const [shown, setShown] = useState<AuditEventMessage | undefined>(undefined);
  const [arrived, setArrived] = useState<readonly AuditEventMessage[]>([]);
  const key = JSON.stringify(filter);
  const loaded = useLoad(() => api<{ events: AuditEventMessage[] }>('GET', pathOf(filter, SHOWN)), [key]);
  const exporting = useAction();

  useEffect(() => setArrived([]), [loaded.data]);
  useEffect(() => {
    const event = newestEvent.value;
    if (event === undefined || filter.to !== '' || !fits(event, filter)) return;
    setArrived((before) => (before.some((one) => one.uid === event.uid) ? before : [event, ...before].slice(0, SHOWN)));
  }, [newestEvent.value]);

  const known = new Set(loaded.data?.events.map(({ uid }) => uid));
  const events = [...arrived.filter(({ uid }) => !known.has(uid)), ...(loaded.data?.events ?? []).toReversed()];
  const field = (name: keyof Filter) => ({
    value: draft[name],
    onInput: (event: { currentTarget: HTMLInputElement }) => setDraft({ ...draft, [name]: event.currentTarget.value }),
  });
  const save = (format: 'jsonl' | 'csv') =>
    exporting.run(async () => {
      const all = (await api<{ events: AuditEventMessage[] }>('GET', pathOf(filter, EXPORTED))).events;
      if (format === 'jsonl') {
        const lines = all.map((event) => `${JSON.stringify(event)}\n`).join('');
        downloadText('audit.jsonl', 'application/x-ndjson', lines);
      } else downloadText('audit.csv', 'text/csv', csvOf(all));
    });

  return (
    <div class="page">
      <PageHead title="Audit log" about="What happened, and who did it. New events appear by themselves.">
        <button type="button" class="button" disabled={exporting.busy} onClick={() => save('jsonl')}>
          Export JSON
        </button>
        <button type="button" class="button" disabled={exporting.busy} onClick={() => save('csv')}>
          Export CSV
        </button>
      </PageHead>
      <search>
        <form
          class="filters"
          onSubmit={(event) => {
            event.preventDefault();
            setQuery({ ...draft, from: draft.from || '24h' });
          }}
        >
          <Field label="From" hint="24h, 7d or a date">
            {(ids) => <input {...ids} class="input" {...field('from')} />}
          </Field>
          <Field label="Until" hint="now, where it is empty">
            {(ids) => <input {...ids} class="input" {...field('to')} />}
          </Field>
          <Field label="Events" hint="what it is about">
            {(ids) => (
              <select
                {...ids}
                class="input"
                value={draft.events}
                onChange={(event) => setDraft({ ...draft, events: event.currentTarget.value })}
              >
                {CHOICES.map(([label, value]) => (
                  <option key={label} value={value}>
                    {label}
                  </option>
                ))}
                {!CHOICES.some(([, value]) => value === draft.events) && (
                  <option value={draft.events}>{draft.events}</option>
                )}
              </select>
            )}
          </Field>
          <Field label="User" hint="whole name">
            {(ids) => <input {...ids} class="input" autocapitalize="none" {...field('user')} />}
          </Field>
          <Field label="Session" hint="whole id">
            {(ids) => <input {...ids} class="input mono" {...field('sid')} />}
          </Field>
          <button type="submit" class="button primary filter-go">
            Show
          </button>
        </form>
      </search>
      <Problem error={loaded.error ?? exporting.error} />
      <section class="panel" aria-label="Events">
        {events.length === 0 ? (
          <Empty>{loaded.data === undefined ? 'Loading…' : 'No event matches.'}</Empty>
        ) : (
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Event</th>
                <th scope="col">Time</th>
                <th scope="col">Who</th>
                <th scope="col">What</th>
                <th scope="col">
                  <span class="visually-hidden">Action</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {events.map((event) => (
                <tr key={event.uid}>
                  <th scope="row" class="text">
                    <span>
                      {event.event} <span class={toneOf(event)}>{event.code}</span>
                    </span>
                  </th>
                  <td data-label="Time" class="nowrap">
                    {moment(Date.parse(event.time))}
                  </td>
                  <td data-label="Who" class="name">
                    {String(event['user'] ?? '')}
                  </td>
                  <td data-label="What" class="text">
                    <span>{summaryOf(event)}</span>
                  </td>
                  <td>
                    <button type="button" class="button slim" onClick={() => setShown(event)}>
                      Details<span class="visually-hidden"> of {event.event}</span>
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      {(loaded.data?.events.length ?? 0) >= SHOWN && (
        <p class="quiet">
          The newest {SHOWN} are shown; the export has up to {EXPORTED}.
        </p>
      )}
      {shown !== undefined && (
        <EventDialog
          event={shown}
          onClose={() => setShown(undefined)}
          onSession={(sid) => {
            setShown(undefined);
            const next = { ...draft, events: '', user: '', sid };
            setDraft(next);
            setQuery(next);
          }}
        />
      )}
    </div>
  );
}

function EventDialog(props: { event: AuditEventMessage; onClose: () => void; onSession: (sid: string) => void }) {
  const { event, onClose, onSession } = props;
  const text = JSON.stringify(event, null, 2);
  const sid = event['sid'];
  return (
    <Dialog title={event.event} broad onClose={onClose}>
      <textarea
        class="input"
        readOnly
        rows={18}
        spellcheck={false}
        aria-label="The event as it stands in the log"
        value={text}
      />
      <div class="row end">
        {typeof sid === 'string' && (
          <button type="button" class="button" onClick={() => onSession(sid)}>
            Everything of this session
          </button>
        )}
        <CopyButton text={text} label="Copy JSON" />
      </div>
    </Dialog>
  );
}

function fits(event: AuditEventMessage, { events, user, sid }: Filter): boolean {
  return (
    (events === '' || events.split(',').includes(event.event)) &&
    (user === '' || event['user'] === user) &&
    (sid === '' || event['sid'] === sid)
  );
}

function toneOf({ code }: AuditEventMessage): string {
  return code.endsWith('W') ? 'tag warn' : code.endsWith('E') ? 'tag bad' : 'tag';
}

/** The few fields that say most. */
function summaryOf(event: AuditEventMessage): string {
  const reason = event['reason'] ?? event['error'];
  if (typeof reason === 'string' && reason !== '') return reason;
  const parts = [
    'login',
    'server_hostname',
    'db_service',
    'desktop_name',
    'name',
    'command',
    'path',
    'addr.remote',
  ].flatMap((field) => (typeof event[field] === 'string' && event[field] !== '' ? [String(event[field])] : []));
  return parts.join(' · ');
}

function csvOf(events: readonly AuditEventMessage[]): string {
  const first = ['time', 'event', 'code', 'user', 'sid', 'cause', 'reason'];
  const names = [...new Set([...first, ...events.flatMap((event) => Object.keys(event))])];
  return toCsv([names, ...events.map((event) => names.map((name) => event[name]))]);
}
