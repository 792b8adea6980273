/* source.h - the files of a pretrained model: where each tensor stands, whatever it is called
 * there.
 *
 * Does:     open(path) reads the configuration and maps the files: a folder's shards, a GGUF file,
 *           or all files of a GGUF that llama.cpp's gguf-split cut (NAME-00001-of-00003.gguf is
 *           given); find(part, layer) gives a tensor as stored; check lists everything that is
 *           missing, mis-shaped or of an unreadable type in one sentence.
 * Memory:   tensors are borrowed from the mapped files until sella_source_close.
 * Threads:  one handle may be read by many.
 * Not here: expansion to f32 (backbone/weights.c).
 */
#ifndef SELLA_BACKBONE_SOURCE_H
#define SELLA_BACKBONE_SOURCE_H

#include "backbone/backbone.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

/* The tensors of a model. */
typedef enum sella_part {
    SELLA_PART_EMBEDDING,
    SELLA_PART_NORM,
    SELLA_PART_HEAD,
    SELLA_PART_NORM_ATTENTION, /* from here on: one a layer */
    SELLA_PART_Q,
    SELLA_PART_K,
    SELLA_PART_V,
    SELLA_PART_O,
    SELLA_PART_NORM_FFN,
    SELLA_PART_GATE,
    SELLA_PART_UP,
    SELLA_PART_DOWN,
    SELLA_PART_Q_BIAS,
    SELLA_PART_K_BIAS,
    SELLA_PART_V_BIAS,
    SELLA_PART_O_BIAS,
    SELLA_PART_Q_NORM,
    SELLA_PART_K_NORM,
    SELLA_PARTS
} sella_part;

typedef struct sella_shard {
    char *name; /* file name as the index calls it */
    sella_safetensors *file;
} sella_shard;

typedef struct sella_source {
    char *path; /* as given */
    sella_backbone_config config;
    sella_gguf *gguf;   /* or NULL: a folder; of a split model the first file, which has the keys */
    sella_gguf **rest;  /* [rests] the other files of a split model */
    int rests;
    sella_shard *shard; /* [shards] */
    int shards;
    bool permuted; /* rows of q and k stand in GGUF's order for architecture llama */
} sella_source;

sella_status sella_source_open(const char *path, sella_source *out, sella_err *err);
void sella_source_close(sella_source *source);

/* Does this configuration have that tensor? */
bool sella_part_wanted(const sella_backbone_config *config, sella_part part);
/* Rows and columns that a tensor must have; cols = 0: rank 1. */
void sella_part_shape(const sella_backbone_config *config, sella_part part, int64_t *rows,
                      int64_t *cols);
/* Tensor, or NULL; layer is ignored for the first three parts. */
const sella_tensor *sella_source_find(const sella_source *source, sella_part part, int layer);
/* Any tensor by its stored name, or NULL. */
const sella_tensor *sella_source_find_name(const sella_source *source, const char *name);
/* SELLA_SHAPE listing all misses; SELLA_UNSUPPORTED when only types are at fault. */
sella_status sella_source_check(const sella_source *source, sella_err *err);

#endif
