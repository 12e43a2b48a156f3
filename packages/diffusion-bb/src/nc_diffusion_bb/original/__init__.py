"""The original project's codec, word for word: BB-ANS on floating-point moments.

Its messages decode where the network gives the same last digits: same machine, library, number
of threads and batch. It is here for comparison; ``nc compress`` writes files.
"""
