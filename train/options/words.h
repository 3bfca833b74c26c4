/* OPTION_WORDS(p_, (a, b, c)) is p_a, p_b, p_c: how a row of words in options.def becomes enumerators. At
 * most eight words. */
#ifndef REMLA_TRAIN_OPTIONS_WORDS_H
#define REMLA_TRAIN_OPTIONS_WORDS_H

#define OPTION_WORDS(P_, W_)   OPTION_WORDS_EACH(P_, OPTION_WORDS_BARE W_)
#define OPTION_WORDS_BARE(...) __VA_ARGS__
/* Counts the words by how far they push the names of the macros to the right. */
#define OPTION_WORDS_EACH(P_, ...)                                                                           \
    OPTION_WORDS_NINTH(__VA_ARGS__, OPTION_WORDS_8, OPTION_WORDS_7, OPTION_WORDS_6, OPTION_WORDS_5,          \
                       OPTION_WORDS_4, OPTION_WORDS_3, OPTION_WORDS_2, OPTION_WORDS_1, )                     \
    (P_, __VA_ARGS__)
#define OPTION_WORDS_NINTH(A_, B_, C_, D_, E_, F_, G_, H_, NAME_, ...) NAME_
#define OPTION_WORDS_1(P_, A_)                                         P_##A_
#define OPTION_WORDS_2(P_, A_, ...)                                    P_##A_, OPTION_WORDS_1(P_, __VA_ARGS__)
#define OPTION_WORDS_3(P_, A_, ...)                                    P_##A_, OPTION_WORDS_2(P_, __VA_ARGS__)
#define OPTION_WORDS_4(P_, A_, ...)                                    P_##A_, OPTION_WORDS_3(P_, __VA_ARGS__)
#define OPTION_WORDS_5(P_, A_, ...)                                    P_##A_, OPTION_WORDS_4(P_, __VA_ARGS__)
#define OPTION_WORDS_6(P_, A_, ...)                                    P_##A_, OPTION_WORDS_5(P_, __VA_ARGS__)
#define OPTION_WORDS_7(P_, A_, ...)                                    P_##A_, OPTION_WORDS_6(P_, __VA_ARGS__)
#define OPTION_WORDS_8(P_, A_, ...)                                    P_##A_, OPTION_WORDS_7(P_, __VA_ARGS__)

#endif
