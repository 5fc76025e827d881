"""Messages of the protocol, written by generate.sh; not for editing."""
