import { useEffect, useState } from 'preact/hooks';
import type { AuditEventMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { downloadText, toCsv } from '../core/download.ts';
import { moment } from '../core/format.ts';
import { newestEvent } from '../core/live.ts';
import { query, setQuery } from '../core/router.tsx';
import { Filters, SelectField, TextField } from '../ui/fields.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { CopyButton, Dialog, PageHead, Problem } from '../ui/parts.tsx';
import { ACTIONS, RowButton, TablePanel } from '../ui/table-panel.tsx';

const SHOWN = 200;
const EXPORTED = 10_000;
const FILTERS = ['from', 'to', 'events', 'user', 'sid'] as const;
type Filter = Record<(typeof FILTERS)[number], string>;

/** Events that people look for, by what they mean. */
const CHOICES: readonly (readonly [events: string, label: string])[] = [
  ['', 'Everything'],
  ['client.disconnect', 'How sessions ended'],
  ['session.start,session.end,session.reject,client.disconnect', 'Sessions'],
  ['user.login,auth', 'Sign-ins'],
  ['exec,scp,sftp,port', 'Commands and files'],
  ['db.session.start,db.session.query,db.session.end', 'Databases'],
  [
    'cluster_networking_config.update,auth_preference.update,role.created,role.updated,role.deleted,lock.created,lock.deleted',
    'Changes of policy',
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
    onInput: (value: string) => setDraft({ ...draft, [name]: value }),
  });
  // A link may name events that no choice has.
  const choices = CHOICES.some(([value]) => value === draft.events)
    ? CHOICES
    : [...CHOICES, [draft.events, draft.events] as const];
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
      <Filters onShow={() => setQuery({ ...draft, from: draft.from || '24h' })}>
        <TextField label="From" hint="24h, 7d or a date" {...field('from')} />
        <TextField label="Until" hint="now, where it is empty" {...field('to')} />
        <SelectField
          label="Events"
          hint="what it is about"
          value={draft.events}
          choices={choices}
          onChange={(events) => setDraft({ ...draft, events })}
        />
        <TextField label="User" hint="whole name" verbatim {...field('user')} />
        <TextField label="Session" hint="whole id" verbatim mono {...field('sid')} />
      </Filters>
      <Problem error={loaded.error ?? exporting.error} />
      <TablePanel
        label="Events"
        columns={['Event', 'Time', 'Who', 'What', ACTIONS]}
        rows={loaded.data === undefined && events.length === 0 ? undefined : events}
        empty="No event matches."
      >
        {(event) => (
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
              {summaryOf(event)}
            </td>
            <td>
              <div class="row end">
                <RowButton text="Details" about={`of ${event.event}`} onClick={() => setShown(event)} />
              </div>
            </td>
          </tr>
        )}
      </TablePanel>
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
          <button type="button" class="button slim" onClick={() => onSession(sid)}>
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
