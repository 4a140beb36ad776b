import { decodeDynamicChannelChunk, INPUT_CHANNEL, isTouchEvent } from '../../wire/rdp/virtual-channel.ts';

/**
 * Dynamic channels that a desktop may open: picture, size, touch, sound and what goes with them. Any other (redirected USB devices,
 * cameras, microphones, plug and play, file systems) stays shut, as the static channels for such things do.
 */
const ALLOWED = new Set([
  'Microsoft::Windows::RDS::Graphics',
  'Microsoft::Windows::RDS::DisplayControl',
  'Microsoft::Windows::RDS::Geometry::v08.01',
  'Microsoft::Windows::RDS::Video::Control::v08.01',
  'Microsoft::Windows::RDS::Video::Data::v08.01',
  'Microsoft::Windows::RDS::CoreInput',
  INPUT_CHANNEL,
  'AUDIO_PLAYBACK_DVC',
  'AUDIO_PLAYBACK_LOSSY_DVC',
  'ECHO',
]);

/** What becomes of one chunk. */
export type DynamicChannelVerdict = 'drop' | 'pass' | 'touch';

/** The dynamic channels of one RDP connection (MS-RDPEDYC), which the server opens and the client accepts. */
export class DynamicChannels {
  /** Names of the open ones by id. */
  readonly #open = new Map<number, string>();
  /** Whether the message that is under way in a direction is dropped. */
  readonly #dropping = { send: false, receive: false };

  /** `touch`: it passes, and is a person's. @throws {DecodeError} */
  judge(direction: 'send' | 'receive', data: Buffer): DynamicChannelVerdict {
    const message = decodeDynamicChannelChunk(data);
    if (message.type === 'continued') return this.#dropping[direction] ? 'drop' : 'pass';
    let dropped = false;
    switch (message.type) {
      case 'compressed':
        // Nobody could look into what a client sent so; what a server opens so is not known here, and nothing is sent to it.
        dropped = direction === 'send';
        break;
      case 'create':
        if (direction === 'receive') {
          if (ALLOWED.has(message.name)) this.#open.set(message.channelId, message.name);
          else this.#open.delete(message.channelId);
        }
        dropped = !this.#open.has(message.channelId);
        break;
      case 'data':
      case 'close':
        dropped = !this.#open.has(message.channelId);
        if (message.type === 'close' && direction === 'receive') this.#open.delete(message.channelId);
        break;
      default:
        break;
    }
    this.#dropping[direction] = dropped;
    if (dropped) return 'drop';
    const touched =
      direction === 'send' &&
      message.type === 'data' &&
      this.#open.get(message.channelId) === INPUT_CHANNEL &&
      isTouchEvent(message.data);
    return touched ? 'touch' : 'pass';
  }
}
