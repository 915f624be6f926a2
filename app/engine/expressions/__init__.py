"""The two query languages of definitions: JSONPath with its intrinsic functions, and JSONata."""
