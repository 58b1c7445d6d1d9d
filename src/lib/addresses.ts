import ipaddr from 'ipaddr.js'
import { KolbakError } from './errors.ts'

export interface Address {
  readonly address: string
  readonly family: 4 | 6
}
/**
 * Decides to which addresses requests may go. The API checks new webhooks by this policy, and the HTTP client checks each connection by it.
 */
export interface AddressPolicy {
  /** Returns whether the address is public (`unicast` after unwrapping every form that embeds an IPv4 address) or lies in an allowed subnet. */
  allows(address: string): boolean
  /** Returns whether plain http may go to the address: it lies in an allowed subnet, or plain http is allowed everywhere. */
  allowsPlainHttp(address: string): boolean
}
/** A CIDR such as `127.0.0.0/8`. */
export type Subnet = readonly [ipaddr.IPv4 | ipaddr.IPv6, number]

/** Reads a CIDR. Throws KolbakError `invalid_subnet`. */
export function parseSubnet(text: string): Subnet {
  try {
    return ipaddr.parseCIDR(text.trim())
  } catch (cause) {
    throw new KolbakError('invalid_subnet', `${JSON.stringify(text)} is not a subnet such as 127.0.0.0/8 or ::1/128.`, { cause })
  }
}

const embeddedAt = (address: ipaddr.IPv6, byte: number): ipaddr.IPv4 =>
  new ipaddr.IPv4(address.toByteArray().slice(byte, byte + 4)) as ipaddr.IPv4

/**
 * The prefix of local NAT64 (RFC 8215). Each network decides how such an address embeds an IPv4 address, so the address is not unwrapped.
 */
const localNat64 = ipaddr.IPv6.parseCIDR('64:ff9b:1::/48')

/**
 * Returns the IPv4 address inside an IPv4-mapped, NAT64 (RFC 6052), 6to4 (RFC 3056) or Teredo (RFC 4380) address, else the address
 * itself.
 */
function unwrap(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  if (!(address instanceof ipaddr.IPv6) || address.match(localNat64)) return address
  switch (address.range()) {
    case 'ipv4Mapped':
      return address.toIPv4Address()
    case 'rfc6052':
      return embeddedAt(address, 12)
    case '6to4':
      return embeddedAt(address, 2)
    case 'teredo':
      return new ipaddr.IPv4(
        address
          .toByteArray()
          .slice(12, 16)
          .map((byte) => byte ^ 0xff),
      )
    default:
      return address
  }
}

/**
 * The addresses that IANA has assigned as global unicast. ipaddr.js calls every other IPv6 address without a name `unicast` too, such as
 * ::169.254.169.254 (IPv4-compatible, RFC 4291).
 */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')
/** Address of Azure's WireServer. It is public, but the server returns the configuration of every virtual machine there. */
const wireServer = '168.63.129.16'
const isPublic = (address: ipaddr.IPv4 | ipaddr.IPv6): boolean =>
  address.range() === 'unicast' && (address instanceof ipaddr.IPv6 ? address.match(globalUnicast) : address.toString() !== wireServer)

export function createAddressPolicy(options: { allowedSubnets: readonly Subnet[]; allowHttp: boolean }): AddressPolicy {
  const { allowedSubnets, allowHttp } = options
  const inAllowed = (address: ipaddr.IPv4 | ipaddr.IPv6) =>
    allowedSubnets.some(([net, bits]) => net.kind() === address.kind() && address.match(net as never, bits as never))
  const judge = (text: string, rule: (address: ipaddr.IPv4 | ipaddr.IPv6) => boolean): boolean => {
    const bare = text.replace(/^\[|\]$/g, '').replace(/%.*$/, '')
    if (!ipaddr.isValid(bare)) return false
    return rule(unwrap(ipaddr.parse(bare)))
  }
  return {
    allows: (text) => judge(text, (address) => isPublic(address) || inAllowed(address)),
    allowsPlainHttp: (text) => allowHttp || judge(text, inAllowed),
  }
}
