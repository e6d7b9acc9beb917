// The letters used in shapes and formulas of this program, defined once.
//
//   B  sequences in a batch           T  rows (tokens) of a step, over all sequences
//   C  hidden size (HF hidden_size)   F  feed-forward size (HF intermediate_size)
//   H  query heads                    G  key/value heads (HF num_key_value_heads); H is a multiple of G
//   D  head size (HF head_dim)        V  vocabulary rows of embedding and head
//   K  inner dimension of a product   N  outer dimension of a product
//
// All arrays are row-major; [T, C] means T rows of C numbers.
#pragma once
