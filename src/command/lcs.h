#ifndef FOREBAY_COMMAND_LCS_H
#define FOREBAY_COMMAND_LCS_H
/* LCS: the longest common subsequence of two strings. */
#include "command/command.h"

/* The command; its row stands in string.c. */
void lcs_command(struct cmd *c);
#endif
