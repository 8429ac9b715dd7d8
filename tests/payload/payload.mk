# The payload tests.
.PHONY: payload-build
payload-build:
