/** Base class of the errors of this project; `cause` keeps what lay underneath. */
export class RmbError extends Error {
  /** The name of the error's class. */
  override get name(): string {
    return this.constructor.name;
  }
}

/** Text or bytes from elsewhere do not have the form they must have: refuse them. */
export class FormatError extends RmbError {}

/** A secret can't be used as it is: correct it. Never contains any part of the secret. */
export class SecretError extends RmbError {}

/** A relay connection token is refused. */
export class TokenError extends RmbError {}

/** A payload can't be encrypted or decrypted with the keys given. */
export class EncryptionError extends RmbError {}

/** A twin registry can't be asked, or can't be changed, right now: try again later. */
export class RegistryError extends RmbError {}

/** No twin has an account: register one for it, or use another secret or key type. */
export class NoTwinError extends RmbError {}

/** No relay has confirmed a message, and it will not be sent any more; one may have it all the same. */
export class NotSentError extends RmbError {}

/**
 * Gives classes of errors their names for good: bundlers rename them, and people read them.
 *
 * @param classes The classes, by their names.
 */
export function nameErrors(
  classes: Readonly<Record<string, abstract new (...args: never) => Error>>,
): void {
  for (const [name, kind] of Object.entries(classes)) {
    Object.defineProperty(kind, "name", { value: name });
  }
}

nameErrors({
  RmbError,
  FormatError,
  SecretError,
  TokenError,
  EncryptionError,
  RegistryError,
  NoTwinError,
  NotSentError,
});
