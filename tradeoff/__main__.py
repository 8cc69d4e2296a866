"""`python -m tradeoff` is the program `tradeoff`."""

from tradeoff.cli import main

raise SystemExit(main())
