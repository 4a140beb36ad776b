/** Pages whose components write their own style elements: xterm.js, IronRDP. */
const STYLED_PAGES = /^\/web\/(?:terminal|desktop)\//;

/**
 * Headers of every file of the web application. Scripts come from the gateway only, none are inline; WebAssembly may be compiled (IronRDP, whose
 * module fetches its code from a `data:` address). Nobody may frame a page.
 */
export function securityHeaders(path: string): Readonly<Record<string, string>> {
  const styled = STYLED_PAGES.test(path);
  const policy = [
    "default-src 'none'",
    `script-src 'self'${styled ? " 'wasm-unsafe-eval'" : ''}`,
    `style-src 'self'${styled ? " 'unsafe-inline'" : ''}`,
    `connect-src 'self'${styled ? ' data:' : ''}`,
    "img-src 'self' data:",
    "font-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ];
  // IronRDP's component writes markup into its own shadow root.
  if (styled) policy.pop();
  return {
    'content-security-policy': policy.join('; '),
    'strict-transport-security': 'max-age=31536000',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy':
      'camera=(), microphone=(), geolocation=(), payment=(), usb=(), clipboard-read=(self), clipboard-write=(self), publickey-credentials-create=(self), publickey-credentials-get=(self)',
  };
}
