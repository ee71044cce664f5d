"""Which addresses a delivery may be sent to; pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_UNICAST: Final = IPv6Network("2000::/3")  # all that IANA has given out of IPv6 for the internet
_NAT64: Final = IPv6Network("64:ff9b::/96")


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """From texts such as "10.1.0.0/16" and "127.0.0.1". Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def may_reach(text: str, allowed: Sequence[Network]) -> bool:
    """Whether the address is of the public internet, or of a network that is allowed. Raises ValueError for no address."""
    address = ip_address(text)
    behind = _behind(address)
    return is_public(behind) or any(behind in network or address in network for network in allowed)


def is_public(address: Address) -> bool:
    """Not private, loopback, link-local, multicast, reserved or the like, also not behind a gateway's form of it."""
    address = _behind(address)
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _behind(address: Address) -> Address:
    """The IPv4 address that packets for this IPv6 one end up at: mapped, 6to4 or NAT64; else itself."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = IPv4Address(address.packed[-4:])
    return inner or address
