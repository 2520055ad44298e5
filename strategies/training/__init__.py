"""A plan carried out in Keras: phases, optimizers, best weights, metrics."""
