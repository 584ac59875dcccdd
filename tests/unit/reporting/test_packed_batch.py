"""Figure 3: a packed batch."""

from elasticast.reporting.packed_batch import attention_mask, pooling_mask


def test_masks_are_block_diagonal():
    mask = attention_mask([2, 1])
    assert mask.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert pooling_mask([2, 1]).tolist() == [[1, 1, 0], [0, 0, 2]]
