import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

/** Files smaller than this gain nothing by being compressed. */
const MIN_COMPRESSED_BYTES = 1024;
/** Brotli's best takes seconds a megabyte: the one large module (IronRDP, with its WebAssembly) gets by with less. */
const LARGE_BYTES = 1024 * 1024;
const MEDIUM_BYTES = 128 * 1024;
const COMPRESSIBLE = /\.(?:js|css|html|svg|json|wasm)$/;

/** Writes each file a second and a third time, compressed, so that the gateway compresses nothing while it serves. */
function precompress(dir: string): Plugin {
  return {
    name: 'nightlatch-precompress',
    apply: 'build',
    closeBundle() {
      for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !COMPRESSIBLE.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        const content = readFileSync(path);
        if (content.length < MIN_COMPRESSED_BYTES) continue;
        const large = content.length > LARGE_BYTES;
        writeFileSync(`${path}.gz`, gzipSync(content, { level: large ? 6 : 9 }));
        const quality = large ? 4 : content.length > MEDIUM_BYTES ? 9 : 11;
        const params = { [constants.BROTLI_PARAM_QUALITY]: quality };
        writeFileSync(`${path}.br`, brotliCompressSync(content, { params }));
      }
    },
  };
}

const root = import.meta.dirname;
const outDir = join(root, 'dist');

export default defineConfig({
  root,
  base: '/web/',
  build: {
    outDir,
    emptyOutDir: true,
    target: 'es2022',
    // The first with light-dark(): what imitates it elsewhere cannot turn one part of a page dark.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // The content policy allows no inline data but pictures.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 8192,
  },
  plugins: [precompress(outDir)],
});
