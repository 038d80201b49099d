"""The methods of segmentation, one file each; `METHODS` of `emjax.segmentation.decode` lists them."""
