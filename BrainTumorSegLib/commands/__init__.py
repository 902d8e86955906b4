"""The subcommands of ``braintumorseg``, one file each."""
