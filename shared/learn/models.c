/* The ready models. Pooling comes before relu, which gives the same values (both are monotone) on a quarter
 * of the elements. */
#include "shared/learn/net.h"

static const struct trib_model_row rows[] = {
    {"softmax", "multinomial regression; linear regression where a number is predicted", "dense"},
    {"2nn", "McMahan's multilayer perceptron, 784-200-200-10: 199,210 parameters",
     "dense(200)\nrelu\ndense(200)\nrelu\ndense"},
    {"mlp", "one hidden layer of 64 units", "dense(64)\nrelu\ndense"},
    {"char-gru", "symbols to an embedding of 8, 128 gated recurrent units: 65,888 parameters for shakespeare",
     "embedding(8)\ngru(128)\ndense"},
    {"cnn-small", "two 5x5 convolutions of 12 and 24 channels: 11,386 parameters",
     "conv(12, 5)\nmaxpool(2)\nrelu\nconv(24, 5)\nmaxpool(2)\nrelu\ndense"},
    {"lenet5", "LeCun's LeNet-5 with relu and max-pooling: 44,426 parameters",
     "conv(6, 5)\nmaxpool(2)\nrelu\nconv(16, 5)\nmaxpool(2)\nrelu\ndense(120)\nrelu\ndense(84)\nrelu\ndense"},
    {"cnn", "McMahan's CNN, 5x5 convolutions of 32 and 64 channels, 512 units: 1,663,370 parameters",
     "conv(32, 5, padding=same)\nmaxpool(2)\nrelu\nconv(64, 5, padding=same)\nmaxpool(2)\nrelu\n"
     "dense(512)\nrelu\ndense"},
};

const struct trib_model_row *trib_model_rows(size_t *count) {
    *count = sizeof rows / sizeof rows[0];
    return rows;
}
