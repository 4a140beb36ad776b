import { DecodeError } from '../../core/errors.ts';
import {
  cutTextLength,
  decodeSetEncodings,
  encodeSetEncodings,
  type RfbClientMessage,
  RfbClientSplitter,
} from '../../wire/rfb/client-messages.ts';
import { decodePixelFormat, type PixelFormat } from '../../wire/rfb/pixel-format.ts';
import { EXTENDED_CLIPBOARD, isFollowedEncoding, RfbServerSplitter } from '../../wire/rfb/server-messages.ts';
import type { DesktopRelay, RelayEvents } from './relay.ts';

/** Relays RFB between browser and desktop, both handshakes being over. */
export class VncRelay implements DesktopRelay {
  readonly #events: RelayEvents;
  readonly #client = new RfbClientSplitter();
  readonly #server: RfbServerSplitter;
  /** Whether the client has asked for pictures: from then on the pixel format stands. */
  #asked = false;
  readonly serverReason = undefined;

  constructor(format: PixelFormat, events: RelayEvents) {
    this.#events = events;
    this.#server = new RfbServerSplitter(format);
  }

  fromClient(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    for (const message of this.#client.push(chunk)) {
      const passed = this.#clientMessage(message);
      if (passed !== undefined) out.push(passed);
    }
    return out;
  }

  fromServer(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    for (const piece of this.#server.push(chunk)) {
      if (piece.cutText) {
        if (!this.#events.clipboardAllowed()) continue;
        if (piece.textLength !== undefined && piece.textLength > 0) {
          this.#events.clipboard('receive', piece.textLength);
        }
      }
      out.push(piece.data);
    }
    return out;
  }

  farewell(): Buffer[] {
    return [];
  }

  #clientMessage(message: RfbClientMessage): Buffer | undefined {
    if (message.person) this.#events.input();
    switch (message.type) {
      case 'SetPixelFormat':
        // Later, nobody could tell which of the server's pixels are in which format.
        if (this.#asked) throw new DecodeError('RFB SetPixelFormat after the first update was asked for');
        this.#server.setPixelFormat(decodePixelFormat(message.data, 4));
        return message.data;
      case 'SetEncodings': {
        const clipboard = this.#events.clipboardAllowed();
        return encodeSetEncodings(
          decodeSetEncodings(message.data).filter(
            (encoding) => isFollowedEncoding(encoding) && (clipboard || encoding !== EXTENDED_CLIPBOARD),
          ),
        );
      }
      case 'FramebufferUpdateRequest':
      case 'EnableContinuousUpdates':
        this.#asked = true;
        return message.data;
      case 'ClientCutText': {
        if (!this.#events.clipboardAllowed()) return undefined;
        const bytes = cutTextLength(message.data);
        if (bytes > 0) this.#events.clipboard('send', bytes);
        return message.data;
      }
      case 'xvp':
        // Switching the machine off is nobody's right here.
        return undefined;
      default:
        return message.data;
    }
  }
}
