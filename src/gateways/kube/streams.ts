/** The streams of a remote command (k8s.io/api core/v1 StreamType), and `data` for a forwarded port. */
export type StreamName = 'stdin' | 'stdout' | 'stderr' | 'error' | 'resize' | 'data';

/** Told of what passes on the streams. */
export interface StreamListener {
  /** `length` bytes of a stream from the client; `bytes` where the protocol was asked to show them (stdin of a terminal). */
  fromClient(stream: StreamName, length: number, bytes: Uint8Array | undefined): void;
  /** Likewise from the target (stdout of a terminal). */
  fromTarget(stream: StreamName, length: number, bytes: Uint8Array | undefined): void;
  /** The client opened a stream for a forwarded port. */
  forwarded(port: string): void;
}

/** What to send to the client when a session ends. */
export interface EndFrames {
  readonly frames: Buffer;
  /** To be sent some time after, so that the client reads the first part before it sees the end of the connection. */
  readonly later?: Buffer;
}

/**
 * How streams travel over one upgraded connection. The original bytes are passed on; this looks at them on the side, in both
 * directions, and makes what the gateway puts in. Its methods throw `DecodeError` for bytes that break the protocol.
 */
export interface StreamProtocol {
  /** Bytes from the client. */
  client(chunk: Uint8Array): void;
  /** Bytes from the target; how many were read: all, or with `stopAtBoundary` up to the first place where something may be put in. */
  target(chunk: Uint8Array, stopAtBoundary: boolean): number;
  /** The target's direction stands between two frames: something may be put in. */
  readonly atBoundary: boolean;
  /** The target has said how it went (exit status, close): the end needs no words of the gateway. */
  readonly targetFinished: boolean;
  /** Zeros that complete the data frame under way when its sender does not; undefined where that cannot be done. */
  padding(): Buffer | undefined;
  /** A frame with terminal output. */
  output(bytes: Uint8Array): Buffer;
  /** Tells the client that and why the session ends; `preface` goes to the terminal before. */
  end(text: string, preface: Uint8Array): EndFrames;
  /** What ends the connection in order after the target's last word, where the target has not sent it itself. */
  leave(): Buffer;
  /** For the target: these bytes on stdin, then its end; empty where the client's last frame is not complete. */
  hangup(bytes: Uint8Array): Buffer;
}

/** What of the streams' bytes has to be shown to the listener. */
export interface StreamOptions {
  /** A terminal: stdin is looked at for what a person did, stdout for the state of the screen. */
  readonly tty: boolean;
  readonly listener: StreamListener;
}
