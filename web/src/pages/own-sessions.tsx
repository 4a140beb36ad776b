import { useState } from 'preact/hooks';
import type { LiveSessionMessage } from '../../../src/wire/api/messages.ts';
import type { WebBrowserMessage } from '../../../src/wire/api/web-messages.ts';
import { api } from '../core/api.ts';
import { count, limit, moment, sinceText } from '../core/format.ts';
import { liveSessions } from '../core/live.ts';
import { session, signOutEverywhere } from '../core/session.ts';
import { useAction, useLoad } from '../ui/load.ts';
import { PageHead, Problem } from '../ui/parts.tsx';
import { Drain, LimitCell } from '../ui/session-parts.tsx';
import { ACTIONS, RowButton, TablePanel } from '../ui/table-panel.tsx';

/** One's own live sessions, and the browsers one is signed in with. */
export function OwnSessionsPage() {
  const { user, policy } = session.value!;
  const own = liveSessions.value?.filter((one) => one.user === user);
  return (
    <div class="page">
      <PageHead
        title="My sessions"
        about={
          policy.timeoutMs === 0
            ? 'Your sessions do not end for inactivity.'
            : `Your sessions end after ${limit(policy.timeoutMs)} without activity (${policy.timeoutSource}).`
        }
      />
      <TablePanel
        label="Open now"
        head={<span class="quiet small">{own === undefined ? '' : count(own.length, 'session')}</span>}
        columns={['Target', 'Since', 'Ends in', 'Limit', ACTIONS]}
        rows={own}
        empty="You have no open session."
      >
        {(one) => <OwnSession key={one.id} one={one} />}
      </TablePanel>
      <Browsers />
    </div>
  );
}

function OwnSession({ one }: { one: LiveSessionMessage }) {
  const action = useAction();
  return (
    <tr>
      <th scope="row">
        <span>
          {one.login}@{one.target.displayName} <span class="tag">{one.protocol}</span>
        </span>
      </th>
      <td data-label="Since">{sinceText(one.startedAtMs)}</td>
      <td data-label="Ends in">
        <Drain session={one} />
      </td>
      <td data-label="Limit">
        <LimitCell session={one} />
      </td>
      <td>
        <div class="row end">
          <RowButton
            text="End"
            about={`the session on ${one.target.displayName}`}
            danger
            disabled={action.busy}
            onClick={() => action.run(async () => void (await api('POST', `/sessions/${one.id}/kill`, {})))}
          />
        </div>
        <Problem error={action.error} />
      </td>
    </tr>
  );
}

function Browsers() {
  const browsers = useLoad(() => api<{ browsers: WebBrowserMessage[] }>('GET', '/web/browsers'), []);
  const action = useAction();
  const [asking, setAsking] = useState(false);
  const { idle } = session.value!;
  return (
    <>
      <Problem error={action.error ?? browsers.error} />
      <TablePanel
        label="Signed in with"
        head={
          asking ? (
            <div class="row">
              <span class="small">Every browser is signed out, this one too; its terminals and desktops end.</span>
              <button
                type="button"
                class="button slim danger"
                disabled={action.busy}
                onClick={() => action.run(signOutEverywhere)}
              >
                Sign out everywhere now
              </button>
              <button type="button" class="button slim" onClick={() => setAsking(false)}>
                Cancel
              </button>
            </div>
          ) : (
            <button type="button" class="button slim" onClick={() => setAsking(true)}>
              Sign out everywhere
            </button>
          )
        }
        columns={['Browser', 'Address', 'Signed in', 'Good until', ACTIONS]}
        rows={browsers.data?.browsers}
        empty="No browser is signed in."
        foot={
          idle.timeoutMs > 0 && (
            <p class="panel-body quiet small">
              A browser is signed out after {limit(idle.timeoutMs)} without activity in any of its tabs
              (web_idle_timeout).
            </p>
          )
        }
      >
        {(browser) => {
          const name = browser.id.slice(0, 8);
          return (
            <tr key={browser.id}>
              <th scope="row">
                <span>{browser.current ? 'This browser' : `Another (${name})`}</span>
              </th>
              <td data-label="Address">{browser.clientIp}</td>
              <td data-label="Signed in">{moment(browser.createdAtMs)}</td>
              <td data-label="Good until">{moment(browser.expiresAtMs)}</td>
              <td>
                {!browser.current && (
                  <div class="row end">
                    <RowButton
                      text="Sign out"
                      about={`browser ${name}`}
                      disabled={action.busy}
                      onClick={() =>
                        action.run(async () => {
                          await api('POST', '/web/browsers/end', { id: browser.id });
                          browsers.reload();
                        })
                      }
                    />
                  </div>
                )}
              </td>
            </tr>
          );
        }}
      </TablePanel>
    </>
  );
}
