/** Most relays of a twin that are tried. */
const MAX_CANDIDATES = 16;

/** A host or an IPv6 address in brackets, and perhaps a port; nothing else that a URL can have. */
const DOMAIN = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/** Those of a twin's relays that a message can be sent to: their names are anyone's choice. */
export function candidates(relays: readonly string[]): string[] {
  const isDomain = (domain: string) => DOMAIN.test(domain) && URL.canParse(`http://${domain}/`);
  return relays.filter(isDomain).slice(0, MAX_CANDIDATES);
}
