/* config.h - the shape of a decoder, read from config.json or from GGUF metadata.
 *
 * Does:     Fills a sella_backbone_config and refuses by name everything that the pass does not
 *           compute: other architectures, mixtures of experts, other activations, sliding windows,
 *           other rope types, stored quantization schemes.
 * Threads:  pure.
 * Not here: tensors (backbone/source.h).
 */
#ifndef SELLA_BACKBONE_CONFIG_H
#define SELLA_BACKBONE_CONFIG_H

#include "backbone/backbone.h"
#include "backbone/source.h"

/* path: of a config.json. */
sella_status sella_config_read_json(const char *path, sella_backbone_config *config,
                                    sella_err *err);
/* source: with its GGUF files open. The vocabulary's size and the flags of biases, head norms and
 * the tied head come from the tensors that are there. */
sella_status sella_config_read_gguf(const sella_source *source, sella_backbone_config *config,
                                    sella_err *err);

#endif
