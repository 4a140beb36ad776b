/** How a side of a connection came to its end. */
export interface PeerClosed {
  /** `peer`: it said goodbye or closed its stream; `error`: the network or the protocol broke; `local`: we closed it. */
  readonly by: 'peer' | 'error' | 'local';
  /** For the log and the audit event. */
  readonly detail: string;
}

/**
 * One side of a relay after authentication: the connection protocol (RFC 4254), message types 80 and above, as raw payloads in
 * their order. A transport over a stream is one; the embedded node is another.
 */
export interface PacketPeer {
  /** Takes a packet; a copy is made of what is kept. Never blocks: heed `onWritable`. Ignored once the peer is closed. */
  send(packet: Uint8Array): void;
  /** Receives each packet. The bytes are valid during the call only. */
  onPacket: (packet: Buffer) => void;
  /** Told `false` when more than enough waits to be written, and `true` when it has gone out. */
  onWritable: (writable: boolean) => void;
  /** Told once. */
  onClose: (closed: PeerClosed) => void;
  /** Stops and starts reading; packets of what is read already may still come after a pause. */
  pause(): void;
  resume(): void;
  /** Says goodbye (SSH_MSG_DISCONNECT) after what has been sent, and closes. Resolves when the peer is closed. */
  disconnect(reason: number, text: string): Promise<void>;
  /** Cuts at once. */
  abort(): void;
}
