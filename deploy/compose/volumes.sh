#!/bin/sh
# Run as root before anything else: an empty volume belongs to root, and nobody else here is root.
set -eu

# Registers the one SPU, where it is not yet: the controller reads this folder when it starts, and from then
# on it alone writes it. The image has no command line that could ask the controller instead.
spu=/fluvio/metadata/SPU/custom-spu-5001.yaml
if [ ! -e "$spu" ]; then
  mkdir -p "${spu%/*}"
  cp /setup/spu.yaml "$spu.new"
  mv "$spu.new" "$spu"
fi

chown -R 65532:65532 /fluvio/metadata /fluvio/data
chown -R "$OWNER" /var/lib/tidegate*
