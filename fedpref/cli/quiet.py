"""What libraries say on their own is for developers, not for who typed a command."""


def hush_accountants() -> None:
    """Leave out dp-accounting's notes about orders that it does not use.

    It evaluates Rényi divergences at many orders and drops those that do not converge;
    the total is a bound without them.
    """
    from absl import logging

    logging.set_verbosity(logging.ERROR)
