/** As identity/passwords.ts demands. */
export const MIN_PASSWORD_LENGTH = 12;

const WORDS = ['far too short', 'weak', 'fair', 'good', 'strong'] as const;

/** A rough measure, 0 to 4: length counts most, then variety; names, runs and repetition count against it. The gateway decides by itself. */
export function passwordScore(password: string, user: string): 0 | 1 | 2 | 3 | 4 {
  if (password.length < MIN_PASSWORD_LENGTH) return 0;
  const lower = password.toLowerCase();
  const distinct = new Set(password).size;
  const classes = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^A-Za-z0-9]/].filter((one) => one.test(password)).length;
  let points = password.length / 4 + classes + distinct / 4 - 4;
  if (user.length > 2 && lower.includes(user.toLowerCase())) points -= 3;
  if (/password|qwert|12345|letmein|nightlatch/.test(lower)) points -= 3;
  if (/(.)\1{2}/.test(password)) points -= 1;
  if (distinct < 6) points -= 3;
  return Math.max(1, Math.min(4, Math.round(points / 1.6))) as 1 | 2 | 3 | 4;
}

export function PasswordStrength({ password, user }: { password: string; user: string }) {
  const score = password === '' ? undefined : passwordScore(password, user);
  const tone = score === undefined ? '' : score <= 1 ? 'weak' : score === 2 ? 'fair' : 'on';
  return (
    <div class="strength">
      <div class="strength-track" aria-hidden="true">
        {[1, 2, 3, 4].map((step) => (
          <span key={step} class={score !== undefined && step <= Math.max(1, score) ? tone : ''} />
        ))}
      </div>
      <span class="small quiet" aria-live="polite">
        {score === undefined ? 'Long is better than complicated.' : `Strength: ${WORDS[score]}`}
      </span>
    </div>
  );
}
