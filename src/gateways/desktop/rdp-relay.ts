import type { EndCause } from '../../audit/events.ts';
import { DecodeError } from '../../core/errors.ts';
import type { SessionEnd } from '../../session/types.ts';
import { isClientInfo, isLicensing, type RdpLogon, rewriteClientInfo } from '../../wire/rdp/client-info.ts';
import { type RdpFrame, RdpFrameSplitter } from '../../wire/rdp/frames.ts';
import { decodeConnectInitial, decodeConnectResponse, rewriteConnectInitial } from '../../wire/rdp/gcc.ts';
import { decodeFastPathInput, decodeSlowPathInput } from '../../wire/rdp/input.ts';
import {
  decodeMcsPdu,
  encodeDisconnectProviderUltimatum,
  encodeSendDataRequest,
  REASON_PROVIDER_INITIATED,
} from '../../wire/rdp/mcs.ts';
import {
  decodeSetErrorInfo,
  decodeSharePdu,
  ERRINFO_IDLE_TIMEOUT,
  ERRINFO_LOGON_TIMEOUT,
  ERRINFO_RPC_INITIATED_DISCONNECT,
  ERRINFO_SERVER_DENIED_CONNECTION,
  encodeSetErrorInfo,
  PDUTYPE2_FONTMAP,
  PDUTYPE2_INPUT,
  PDUTYPE2_SET_ERROR_INFO,
} from '../../wire/rdp/share.ts';
import {
  CB_FILECONTENTS_RESPONSE,
  CB_FORMAT_DATA_RESPONSE,
  decodeClipboardChunk,
} from '../../wire/rdp/virtual-channel.ts';
import { DynamicChannels } from './dynamic-channels.ts';
import type { DesktopRelay, RelayEvents } from './relay.ts';

export interface RdpRelayOptions {
  /** The protocol that the gateway negotiated with the desktop. */
  readonly selectedProtocol: number;
  readonly logon: RdpLogon;
  readonly events: RelayEvents;
}

/** What a client may send by where it is in the connection sequence (MS-RDPBCGR 1.3.1.1). */
type Phase = 'connect' | 'join' | 'active';

/** Channels that pass; the clipboard has its own rule. Anything else (drives, printers, smart cards) is not offered here, and stays shut. */
const PASSED_CHANNELS = new Set(['drdynvc', 'rdpsnd']);

const ERROR_INFO: Readonly<Partial<Record<EndCause, number>>> = {
  idle: ERRINFO_IDLE_TIMEOUT,
  max_session_ttl: ERRINFO_LOGON_TIMEOUT,
  cert_expired: ERRINFO_LOGON_TIMEOUT,
  access_revoked: ERRINFO_SERVER_DENIED_CONNECTION,
  locked: ERRINFO_SERVER_DENIED_CONNECTION,
};

/**
 * Relays clear RDP between browser and desktop. Frames pass as they are; touched are the Connect-Initial (32 bits,
 * negotiated protocol), the Client Info (who signs in), and what belongs to a channel that is shut, which is dropped.
 *
 * INVARIANT: the user name in the Client Info is the one that access was granted for, whatever the client wrote.
 */
export class RdpRelay implements DesktopRelay {
  readonly #options: RdpRelayOptions;
  readonly #client = new RdpFrameSplitter();
  readonly #server = new RdpFrameSplitter();
  #phase: Phase = 'connect';
  #channelNames: readonly string[] = [];
  /** Static virtual channels by id; undefined until the server's Connect-Response. */
  #channels: ReadonlyMap<number, string> | undefined;
  #ioChannelId = 0;
  #messageChannelId: number | undefined;
  #shareId: number | undefined;
  /** The desktop has begun: its first Demand Active has come. */
  #demanded = false;
  #ready = false;
  readonly #dynamicChannels = new DynamicChannels();
  serverReason: string | undefined;

  constructor(options: RdpRelayOptions) {
    this.#options = options;
  }

  fromClient(chunk: Buffer): Buffer[] {
    const { bytes, frames } = this.#client.push(chunk);
    return forward(bytes, frames, (frame) => this.#clientFrame(frame));
  }

  fromServer(chunk: Buffer): Buffer[] {
    const { bytes, frames } = this.#server.push(chunk);
    return forward(bytes, frames, (frame) => this.#serverFrame(frame));
  }

  farewell(end: SessionEnd): Buffer[] {
    const words: Buffer[] = [];
    if (this.#shareId !== undefined) {
      const code = ERROR_INFO[end.cause] ?? ERRINFO_RPC_INITIATED_DISCONNECT;
      words.push(encodeSetErrorInfo(this.#ioChannelId, this.#shareId, code));
    }
    if (this.#channels !== undefined) words.push(encodeDisconnectProviderUltimatum(REASON_PROVIDER_INITIATED));
    return words;
  }

  #clientFrame(frame: RdpFrame): Buffer | undefined {
    if (frame.kind === 'fastpath') {
      if (this.#phase !== 'active') throw new DecodeError('RDP input before the connection is set up');
      if (decodeFastPathInput(frame.data).person) this.#options.events.input();
      return frame.data;
    }
    const pdu = decodeMcsPdu(frame.data);
    if (this.#phase === 'connect') {
      if (pdu.type !== 'connect-initial') throw new DecodeError(`RDP ${pdu.type} where Connect-Initial belongs`);
      this.#channelNames = decodeConnectInitial(pdu.body).channels;
      this.#phase = 'join';
      return rewriteConnectInitial(frame.data, this.#options.selectedProtocol);
    }
    switch (pdu.type) {
      case 'send-data-request':
        return this.#clientData(frame.data, pdu.initiator, pdu.channelId, pdu.data);
      case 'erect-domain':
      case 'attach-user-request':
      case 'channel-join-request':
      case 'disconnect-provider-ultimatum':
      case 'x224-disconnect':
        return frame.data;
      default:
        throw new DecodeError(`RDP ${pdu.type} from a client`);
    }
  }

  #clientData(frame: Buffer, initiator: number, channelId: number, data: Buffer): Buffer | undefined {
    if (this.#channels === undefined) throw new DecodeError('RDP data before the channels are known');
    if (channelId === this.#messageChannelId) return frame;
    if (channelId !== this.#ioChannelId) {
      if (this.#phase !== 'active') return undefined;
      return this.#channelData('send', frame, channelId, data);
    }
    if (this.#phase === 'join') {
      if (!isClientInfo(data)) throw new DecodeError('RDP data where the Client Info belongs');
      this.#phase = 'active';
      return encodeSendDataRequest(initiator, channelId, rewriteClientInfo(data, this.#options.logon));
    }
    // Until the desktop begins, a client has nothing to send but licensing; a second Client Info would name somebody else.
    if (!this.#demanded) return isLicensing(data) ? frame : undefined;
    const share = decodeSharePdu(data);
    if (share.type === 'data' && share.pduType2 === PDUTYPE2_INPUT) {
      if (share.compressed || decodeSlowPathInput(share.body).person) this.#options.events.input();
    }
    return frame;
  }

  #serverFrame(frame: RdpFrame): Buffer | undefined {
    if (frame.kind === 'fastpath') return frame.data;
    const pdu = decodeMcsPdu(frame.data);
    if (pdu.type === 'connect-response') {
      if (this.#channels !== undefined) throw new DecodeError('RDP second Connect-Response');
      const settings = decodeConnectResponse(pdu.body);
      this.#ioChannelId = settings.ioChannelId;
      this.#messageChannelId = settings.messageChannelId;
      this.#channels = new Map(settings.channelIds.map((id, i) => [id, this.#channelNames[i] ?? '']));
      return frame.data;
    }
    if (pdu.type !== 'send-data-indication') return frame.data;
    if (pdu.channelId === this.#ioChannelId) {
      this.#serverShare(pdu.data);
      return frame.data;
    }
    if (pdu.channelId === this.#messageChannelId) return frame.data;
    return this.#channelData('receive', frame.data, pdu.channelId, pdu.data);
  }

  #serverShare(data: Buffer): void {
    const share = decodeSharePdu(data);
    switch (share.type) {
      case 'demand-active':
        this.#demanded = true;
        this.#shareId = share.shareId;
        break;
      case 'deactivate-all':
        this.#shareId = undefined;
        break;
      case 'data':
        if (share.compressed) break;
        if (share.pduType2 === PDUTYPE2_SET_ERROR_INFO) {
          const code = decodeSetErrorInfo(share.body);
          if (code !== 0) this.serverReason = `error info 0x${code.toString(16)}`;
        } else if (share.pduType2 === PDUTYPE2_FONTMAP && !this.#ready) {
          this.#ready = true;
          this.#options.events.ready();
        }
        break;
      default:
        break;
    }
  }

  /** One chunk of a static virtual channel: passed on, or dropped where the channel is shut. */
  #channelData(direction: 'send' | 'receive', frame: Buffer, channelId: number, data: Buffer): Buffer | undefined {
    const name = this.#channels?.get(channelId);
    if (name === 'cliprdr') return this.#clipboard(direction, frame, data);
    if (name === undefined || !PASSED_CHANNELS.has(name)) return undefined;
    if (name !== 'drdynvc') return frame;
    const verdict = this.#dynamicChannels.judge(direction, data);
    if (verdict === 'touch') this.#options.events.input();
    return verdict === 'drop' ? undefined : frame;
  }

  #clipboard(direction: 'send' | 'receive', frame: Buffer, data: Buffer): Buffer | undefined {
    const { events } = this.#options;
    if (!events.clipboardAllowed()) return undefined;
    const message = decodeClipboardChunk(data);
    if (message?.ok === true && message.msgType === CB_FORMAT_DATA_RESPONSE) {
      events.clipboard(direction, message.dataLength);
    } else if (message?.ok === true && message.msgType === CB_FILECONTENTS_RESPONSE) {
      events.work();
    }
    return frame;
  }
}

/** What is passed on of a run of frames: in one piece where nothing was changed or dropped. */
function forward(bytes: Buffer, frames: readonly RdpFrame[], pass: (frame: RdpFrame) => Buffer | undefined): Buffer[] {
  const out: Buffer[] = [];
  let start = 0;
  let offset = 0;
  for (const frame of frames) {
    const passed = pass(frame);
    const end = offset + frame.data.length;
    if (passed !== frame.data) {
      if (start < offset) out.push(bytes.subarray(start, offset));
      if (passed !== undefined) out.push(passed);
      start = end;
    }
    offset = end;
  }
  if (start < offset) out.push(bytes.subarray(start, offset));
  return out;
}
