// TLS 1.3 record protection (RFC 8446, section 5.2) in place, with OpenSSL's ciphers as Node carries them.
//
// node:crypto makes an object, a key schedule and a buffer for every record; here a cipher context is kept for each direction of a
// connection. Everything else of TLS is elsewhere: the handshake is Node's, framing and alerts are TypeScript's
// (src/gateways/common/tls/records.ts).
#include <node_api.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE_BYTES = 12, TAG_BYTES = 16, HEADER_BYTES = 5, MAX_PLAINTEXT = 16384, MAX_CIPHERTEXT = MAX_PLAINTEXT + 256 };
enum { APPLICATION_DATA = 23 };

/** One direction's key. */
typedef struct {
  EVP_CIPHER_CTX *context;
  uint8_t iv[NONCE_BYTES];
  uint64_t sequence;
  bool seals;
} Protection;

static napi_value fail(napi_env env, const char *message) {
  // An error that stays in OpenSSL's queue would be taken for one of the next connection that Node's TLS looks after.
  ERR_clear_error();
  napi_throw_error(env, NULL, message);
  return NULL;
}

static napi_value number(napi_env env, int64_t value) {
  napi_value result = NULL;
  napi_create_int64(env, value, &result);
  return result;
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  Protection *protection = data;
  EVP_CIPHER_CTX_free(protection->context);
  OPENSSL_cleanse(protection->iv, sizeof protection->iv);
  free(protection);
}

/** Buffer or Uint8Array. */
static bool bytes_of(napi_env env, napi_value value, uint8_t **data, size_t *length) {
  bool is_typed = false;
  napi_typedarray_type type;
  if (napi_is_typedarray(env, value, &is_typed) != napi_ok || !is_typed) return false;
  if (napi_get_typedarray_info(env, value, &type, length, (void **)data, NULL, NULL) != napi_ok) return false;
  return type == napi_uint8_array;
}

/** create(cipher: string, key: Uint8Array, iv: Uint8Array, seals: boolean, sequence: number): handle */
static napi_value create(napi_env env, napi_callback_info info) {
  napi_value arguments[5];
  size_t count = 5;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  char name[32];
  size_t name_length;
  uint8_t *key, *iv;
  size_t key_length, iv_length;
  bool seals;
  uint32_t sequence;
  if (count != 5 || napi_get_value_string_latin1(env, arguments[0], name, sizeof name, &name_length) != napi_ok ||
      !bytes_of(env, arguments[1], &key, &key_length) || !bytes_of(env, arguments[2], &iv, &iv_length) ||
      napi_get_value_bool(env, arguments[3], &seals) != napi_ok ||
      napi_get_value_uint32(env, arguments[4], &sequence) != napi_ok)
    return fail(env, "create(cipher, key, iv, seals, sequence)");
  const EVP_CIPHER *cipher = EVP_get_cipherbyname(name);
  if (cipher == NULL || iv_length != NONCE_BYTES || EVP_CIPHER_get_iv_length(cipher) != NONCE_BYTES ||
      key_length != (size_t)EVP_CIPHER_get_key_length(cipher))
    return fail(env, "unknown cipher, or a key or IV of the wrong length");
  Protection *protection = calloc(1, sizeof *protection);
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  if (protection == NULL || context == NULL ||
      EVP_CipherInit_ex(context, cipher, NULL, key, NULL, seals ? 1 : 0) != 1) {
    EVP_CIPHER_CTX_free(context);
    free(protection);
    return fail(env, "the cipher cannot be set up");
  }
  protection->context = context;
  protection->seals = seals;
  protection->sequence = sequence;
  memcpy(protection->iv, iv, NONCE_BYTES);
  napi_value handle;
  if (napi_create_external(env, protection, finalize, NULL, &handle) != napi_ok) {
    finalize(env, protection, NULL);
    return fail(env, "out of memory");
  }
  return handle;
}

/** The per-record nonce (section 5.3). A sequence number is never used twice: the last one is refused. */
static bool next_nonce(Protection *protection) {
  if (protection->sequence == UINT64_MAX) return false;
  uint8_t nonce[NONCE_BYTES];
  memcpy(nonce, protection->iv, NONCE_BYTES);
  for (int i = 0; i < 8; i++) nonce[NONCE_BYTES - 1 - i] ^= (uint8_t)(protection->sequence >> (8 * i));
  protection->sequence++;
  return EVP_CipherInit_ex(protection->context, NULL, NULL, NULL, nonce, -1) == 1;
}

static bool protection_of(napi_env env, napi_value value, bool seals, Protection **protection) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_external) return false;
  if (napi_get_value_external(env, value, (void **)protection) != napi_ok || *protection == NULL) return false;
  return (*protection)->seals == seals;
}

/**
 * open(handle, bytes: Uint8Array, offset: number): number
 *
 * Opens the record whose header stands at `offset`, in place. Returns the length of the inner plaintext (content, type and padding),
 * which stands behind the header, or -1 where the record is not authentic. It must be there as a whole.
 */
static napi_value open_record(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  size_t count = 3;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  Protection *protection;
  uint8_t *bytes;
  size_t length;
  uint32_t offset;
  if (count != 3 || !protection_of(env, arguments[0], false, &protection) ||
      !bytes_of(env, arguments[1], &bytes, &length) || napi_get_value_uint32(env, arguments[2], &offset) != napi_ok)
    return fail(env, "open(handle, bytes, offset)");
  if (offset > length || length - offset < HEADER_BYTES) return fail(env, "the record is beyond the buffer");
  uint8_t *header = bytes + offset;
  size_t body_length = (size_t)header[3] << 8 | header[4];
  if (body_length > length - offset - HEADER_BYTES || body_length > MAX_CIPHERTEXT)
    return fail(env, "the record is beyond the buffer");
  if (body_length <= TAG_BYTES) return number(env, -1);
  uint8_t *body = header + HEADER_BYTES;
  int content_length = (int)(body_length - TAG_BYTES);
  int written;
  EVP_CIPHER_CTX *context = protection->context;
  if (!next_nonce(protection) || EVP_CipherUpdate(context, NULL, &written, header, HEADER_BYTES) != 1 ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, body + content_length) != 1 ||
      EVP_CipherUpdate(context, body, &written, body, content_length) != 1 ||
      EVP_CipherFinal_ex(context, body + content_length, &written) != 1) {
    ERR_clear_error();
    return number(env, -1);
  }
  return number(env, content_length);
}

/**
 * seal(handle, type: number, from: Uint8Array, fromOffset: number, length: number, to: Uint8Array, toOffset: number): number
 *
 * Writes a record with `length` bytes of content, without padding; returns the record's length. The content must not lie where the
 * record goes.
 */
static napi_value seal_record(napi_env env, napi_callback_info info) {
  napi_value arguments[7];
  size_t count = 7;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  Protection *protection;
  uint8_t *from, *to;
  size_t from_length, to_length;
  uint32_t type, from_offset, length, to_offset;
  if (count != 7 || !protection_of(env, arguments[0], true, &protection) ||
      napi_get_value_uint32(env, arguments[1], &type) != napi_ok || !bytes_of(env, arguments[2], &from, &from_length) ||
      napi_get_value_uint32(env, arguments[3], &from_offset) != napi_ok ||
      napi_get_value_uint32(env, arguments[4], &length) != napi_ok ||
      !bytes_of(env, arguments[5], &to, &to_length) || napi_get_value_uint32(env, arguments[6], &to_offset) != napi_ok)
    return fail(env, "seal(handle, type, from, fromOffset, length, to, toOffset)");
  if (length > MAX_PLAINTEXT || from_offset > from_length || from_length - from_offset < length)
    return fail(env, "the content is beyond the buffer");
  size_t body_length = (size_t)length + 1 + TAG_BYTES;
  if (to_offset > to_length || to_length - to_offset < HEADER_BYTES + body_length)
    return fail(env, "there is no room for the record");
  uint8_t *header = to + to_offset;
  uint8_t *body = header + HEADER_BYTES;
  uint8_t inner_type = (uint8_t)type;
  header[0] = APPLICATION_DATA;
  header[1] = 3;
  header[2] = 3;
  header[3] = (uint8_t)(body_length >> 8);
  header[4] = (uint8_t)body_length;
  int written;
  EVP_CIPHER_CTX *context = protection->context;
  if (!next_nonce(protection) || EVP_CipherUpdate(context, NULL, &written, header, HEADER_BYTES) != 1 ||
      (length > 0 && EVP_CipherUpdate(context, body, &written, from + from_offset, (int)length) != 1) ||
      EVP_CipherUpdate(context, body + length, &written, &inner_type, 1) != 1 ||
      EVP_CipherFinal_ex(context, body + length + 1, &written) != 1 ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, body + length + 1) != 1)
    return fail(env, "the record cannot be sealed");
  return number(env, (int64_t)(HEADER_BYTES + body_length));
}

NAPI_MODULE_INIT() {
  napi_property_descriptor functions[] = {
      {"create", NULL, create, NULL, NULL, NULL, napi_enumerable, NULL},
      {"open", NULL, open_record, NULL, NULL, NULL, napi_enumerable, NULL},
      {"seal", NULL, seal_record, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
  return exports;
}
