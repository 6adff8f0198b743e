# Aliases; `python3 -m labkit --help` lists everything.
lab chapter test checkup bench publish: ; python3 -m labkit $@
all: ; python3 -m labkit test --all
.PHONY: lab chapter test checkup bench publish all
