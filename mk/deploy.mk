# Images. The engine's classic builder and BuildKit both do.

# What `make base-image` made, if it was run; else the registry's.
TRIBUTARY_BASE ?= $(or $(shell sed -n 's/^TRIBUTARY_BASE=//p' .env 2>/dev/null),debian:bookworm-slim)
IMAGES := edge cloud device keys
COMPOSE ?= $(if $(shell docker compose version 2>/dev/null),docker compose,docker-compose)

.PHONY: base-image images $(IMAGES:%=image-%) image-sizes compose-demo

base-image: ## a Debian 12 base image from this machine's own apt sources, where no registry is in reach
	@deploy/base-image

images: $(IMAGES:%=image-%) ## tributary-edge, -cloud, -device and -keys
	@$(MAKE) --no-print-directory image-sizes

# One after the other: they share the build stage, which the first one leaves in the cache.
image-cloud: image-edge
image-device: image-cloud
image-keys: image-device

$(IMAGES:%=image-%): image-%:
	@echo "  IMAGE tributary-$* (on $(TRIBUTARY_BASE))"
	@mkdir -p build
	$(Q)docker build -f deploy/Dockerfile --build-arg BASE=$(TRIBUTARY_BASE) --target $* -t tributary-$* . \
	    > build/image-$*.log 2>&1 || { tail -n 60 build/image-$*.log; exit 1; }

# The limits, in bytes: a gateway's disk and its uplink are small.
LIMIT_edge   := 20000000
LIMIT_cloud  := 60000000
LIMIT_device := 60000000

image-sizes:
	@set -e; for limit in $(foreach i,edge cloud device,$(i):$(LIMIT_$(i))); do \
	    image=tributary-$${limit%:*}; size=$$(docker image inspect --format '{{.Size}}' $$image); \
	    echo "$$image: $$size bytes (at most $${limit#*:})"; [ "$$size" -lt "$${limit#*:}" ]; done

compose-demo: ## the demo in containers, to its target (docker-compose.yml), with a summary
	@COMPOSE="$(COMPOSE)" deploy/compose/demo
